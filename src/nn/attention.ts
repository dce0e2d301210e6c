import { AnnealError } from '../errors'
import { isPlainObject } from '../objects'
import {
  linear,
  logicalAnd,
  quantizedLinear,
  reshape,
  rotaryEmbedding,
  scaledDotProductAttention,
  split,
  transpose,
  where,
} from '../ops.generated'
import { sizeOf } from '../shape'
import type { Buffer, Parameter, Tensor } from '../tensor'
import { lastAxis, needTensor, whole, within } from './check'
import { xavierUniform, zeros } from './init'
import { Layer, type WeightOptions } from './layer'
import { Linear } from './linear'
import type { ForwardShapes } from './module'
import { filled } from './parameters'
import { inferenceOnly } from './quantized'

export interface MultiHeadAttentionOptions extends WeightOptions {
  /** Heads of keys and values, each shared by several of the queries (Ainslie et al., 2023). Default: as many as heads. */
  kvHeads?: number
  /** Whether projections have biases. Default: true. */
  bias?: boolean
  /** The probability with which attention weights are dropped while training. Default: 0. */
  dropout?: number
  /** Turns queries and keys by their positions (Su et al., 2021); see {@link RotaryOptions}. */
  rotary?: RotaryOptions
}

export interface RotaryOptions {
  /** The base of the frequencies. Default: 10000. */
  base?: number
  /** Whether pairs are neighbours instead of halves. Default: false. */
  interleaved?: boolean
}

export interface AttentionOptions {
  /**
   * Broadcasts to [N, heads, queries, keys]: bool, true where a query may see a key, or floating-point, added to the scores.
   */
  mask?: Tensor
  /** Which keys are there: bool [N, keys], false for padding. */
  keyMask?: Tensor
  /** Whether a query sees only keys up to its own position. Default: false. */
  causal?: boolean
}

/**
 * Attention by several heads (Vaswani et al., 2017): [N, queries, size] with keys and values [N, keys, size] to
 * [N, queries, size]. Without keys and values it is self-attention. Parameters are named and laid out as in PyTorch; bool
 * masks say, the other way round than there, what takes part.
 */
export class MultiHeadAttention extends Layer {
  readonly inProjWeight: Parameter
  readonly inProjBias: Parameter | undefined
  /** Of an int8 `inProjWeight`, one for each of its rows; see {@link quantize}. */
  readonly inProjScale: Buffer | undefined
  readonly outProj: Linear
  readonly kvHeads: number
  readonly dropout: number
  readonly rotary: RotaryOptions | undefined
  readonly #sizes: readonly [queries: number, keys: number, values: number]

  constructor(
    readonly size: number,
    readonly heads: number,
    options: MultiHeadAttentionOptions = {},
  ) {
    super(size, heads, options)
    const { bias = true } = options
    whole(this.label, 'size', size)
    whole(this.label, 'heads', heads)
    this.kvHeads = whole(this.label, 'kvHeads', options.kvHeads ?? heads)
    this.dropout = within(this.label, 'dropout', options.dropout ?? 0, 0, 1)
    this.rotary = options.rotary
    if (size % heads !== 0 || heads % this.kvHeads !== 0) {
      throw new AnnealError(
        'ERR_VALUE',
        `${this.label}: size must be a multiple of heads, and heads of kvHeads; got ${size}, ${heads} and ${this.kvHeads}`,
      )
    }
    const keySize = (size / heads) * this.kvHeads
    this.#sizes = [size, keySize, keySize]
    const rows = size + 2 * keySize
    this.inProjWeight = xavierUniform(filled([rows, size], 0))
    this.inProjBias = bias ? filled([rows], 0) : undefined
    this.outProj = new Linear(size, size, { bias })
    if (this.outProj.bias) zeros(this.outProj.bias)
  }

  forward(query: Tensor, ...rest: (Tensor | AttentionOptions | undefined)[]): Tensor {
    const last = rest.at(-1)
    const options = isPlainObject(last) ? (last as AttentionOptions) : {}
    const others = (isPlainObject(last) ? rest.slice(0, -1) : rest) as (Tensor | undefined)[]
    const [key = query, value = key] = others.filter(x => x !== undefined)
    for (const x of [query, key, value]) {
      lastAxis(this.label, x, this.size)
      if (x.ndim !== 3) {
        throw new AnnealError(
          'ERR_SHAPE',
          `${this.label}: expected inputs of shape [N, T, ${this.size}]; got [${x.shape}]`,
        )
      }
    }
    const [q, k, v] = this.#project(query, key, value)
    const [queries, keys] = [this.#turned(this.#split(q, this.heads)), this.#turned(this.#split(k, this.kvHeads))]
    const mixed = this.#attend(queries, keys, this.#split(v, this.kvHeads), options)
    return this.outProj.forward(reshape(transpose(mixed, 1, 2), query.shape))
  }

  /** Queries, keys and values, [N, T, their size], by one product for self-attention. */
  #project(query: Tensor, key: Tensor, value: Tensor): [Tensor, Tensor, Tensor] {
    const { inProjWeight: weight, inProjBias: bias, inProjScale: scale } = this
    if (scale) inferenceOnly(this)
    if (query === key && key === value) {
      return split(project(query, weight, bias, scale), this.#sizes, { axis: -1 }) as [Tensor, Tensor, Tensor]
    }
    const [weights, biases, scales] = [weight, bias, scale].map(all => (all ? split(all, this.#sizes) : []))
    return [query, key, value].map((x, i) => project(x, weights![i]!, biases![i], scales![i])) as [
      Tensor,
      Tensor,
      Tensor,
    ]
  }

  /** [N, T, heads · D] as [N, heads, T, D]. */
  #split(x: Tensor, heads: number): Tensor {
    const [n, t] = x.shape as [number, number, number]
    return transpose(reshape(x, [n, t, heads, this.size / this.heads]), 1, 2)
  }

  /** Queries or keys turned by their positions, where that is wanted. */
  #turned(x: Tensor): Tensor {
    const { rotary } = this
    return rotary ? rotaryEmbedding(x, undefined, undefined, { base: rotary.base, interleaved: rotary.interleaved }) : x
  }

  #attend(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
    if (options.keyMask) needTensor(`${this.label}: keyMask`, options.keyMask)
    const mask = combinedMask(options)
    const { causal = false } = options
    const dropoutP = this.training ? this.dropout : 0
    return scaledDotProductAttention(q, k, v, mask, { causal, dropoutP })
  }

  override flops({ inputs }: ForwardShapes): number {
    const [query, key = query!] = inputs
    const scores = sizeOf(query!) * key[1]!
    const [q, k, v] = this.#sizes
    return 2 * this.size * ((sizeOf(query!) / this.size) * q + (sizeOf(key) / this.size) * (k + v)) + 4 * scores
  }
}

function project(x: Tensor, weight: Tensor, bias: Tensor | undefined, scale: Tensor | undefined): Tensor {
  return scale ? quantizedLinear(x, weight, scale, bias) : linear(x, weight, bias)
}

/** Both masks as one. */
function combinedMask({ mask, keyMask }: AttentionOptions): Tensor | undefined {
  if (!keyMask) return mask
  const keys = reshape(keyMask, [keyMask.shape[0]!, 1, 1, -1])
  if (!mask) return keys
  return mask.dtype === 'bool' ? logicalAnd(mask, keys) : where(keys, mask, -Infinity)
}
