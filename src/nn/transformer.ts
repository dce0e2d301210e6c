import { gelu, relu } from '../ops.generated'
import type { Tensor } from '../tensor'
import { type AttentionOptions, MultiHeadAttention } from './attention'
import { needTensor, oneOf, whole, within } from './check'
import { Dropout } from './dropout'
import { Layer, mostLayers } from './layer'
import { Linear } from './linear'
import { LayerNorm } from './normalization'

export interface TransformerOptions {
  /** Width of the feed-forward network's hidden layer. Default: 2048. */
  feedForward?: number
  /** The probability of dropout. Default: 0.1. */
  dropout?: number
  /** Default: 'relu'. */
  activation?: 'relu' | 'gelu'
  /** Whether normalisation comes before attention and feed-forward network instead of after (Xiong et al., 2020). Default: false. */
  normFirst?: boolean
  /** Added to the variance. Default: 1e-5. */
  eps?: number
  /** Whether layers have biases. Default: true. */
  bias?: boolean
  /** Heads of keys and values; see {@link MultiHeadAttention}. Default: as many as heads. */
  kvHeads?: number
}

const activations = { relu, gelu }

/**
 * Self-attention and a feed-forward network, each with a residual connection and layer normalisation: [N, T, size] to the same
 * (Vaswani et al., 2017). Parameters are named as in PyTorch.
 */
export class TransformerEncoderLayer extends Layer {
  readonly selfAttn: MultiHeadAttention
  readonly linear1: Linear
  readonly linear2: Linear
  readonly norm1: LayerNorm
  readonly norm2: LayerNorm
  readonly dropout: Dropout
  readonly dropout1: Dropout
  readonly dropout2: Dropout
  readonly #activation: (x: Tensor) => Tensor

  constructor(
    size: number,
    heads: number,
    private readonly options: TransformerOptions = {},
  ) {
    super(size, heads, options)
    const { feedForward = 2048, dropout = 0.1, activation = 'relu', eps = 1e-5, bias = true, kvHeads } = options
    this.#activation = activations[oneOf(this.label, 'activation', activation, ['relu', 'gelu'])]
    this.selfAttn = new MultiHeadAttention(size, heads, { dropout, bias, kvHeads })
    this.linear1 = new Linear(size, feedForward, { bias })
    this.linear2 = new Linear(feedForward, size, { bias })
    this.norm1 = new LayerNorm(size, { eps, bias })
    this.norm2 = new LayerNorm(size, { eps, bias })
    this.dropout = new Dropout(dropout)
    this.dropout1 = new Dropout(dropout)
    this.dropout2 = new Dropout(dropout)
  }

  forward(x: Tensor, options: AttentionOptions = {}): Tensor {
    needTensor(this.label, x)
    if (this.options.normFirst) {
      const attended = x.add(this.#attend(this.norm1.forward(x), options))
      return attended.add(this.#feedForward(this.norm2.forward(attended)))
    }
    const attended = this.norm1.forward(x.add(this.#attend(x, options)))
    return this.norm2.forward(attended.add(this.#feedForward(attended)))
  }

  #attend(x: Tensor, options: AttentionOptions): Tensor {
    return this.dropout1.forward(this.selfAttn.forward(x, options))
  }

  #feedForward(x: Tensor): Tensor {
    const hidden = this.dropout.forward(this.#activation(this.linear1.forward(x)))
    return this.dropout2.forward(this.linear2.forward(hidden))
  }
}

export interface TransformerEncoderOptions extends TransformerOptions {
  /** Whether the result is normalised, which goes with `normFirst`. Default: as `normFirst`. */
  norm?: boolean
}

/** `count` encoder layers, one after the other: [N, T, size] to the same. */
export class TransformerEncoder extends Layer {
  readonly layers: TransformerEncoderLayer[]
  readonly norm: LayerNorm | undefined

  constructor(size: number, heads: number, count: number, options: TransformerEncoderOptions = {}) {
    super(size, heads, count, options)
    within(this.label, 'count', whole(this.label, 'count', count), 1, mostLayers)
    this.layers = Array.from({ length: count }, () => new TransformerEncoderLayer(size, heads, options))
    const normalised = options.norm ?? options.normFirst ?? false
    this.norm = normalised ? new LayerNorm(size, { eps: options.eps, bias: options.bias }) : undefined
  }

  forward(x: Tensor, options: AttentionOptions = {}): Tensor {
    const encoded = this.layers.reduce((y, layer) => layer.forward(y, options), x)
    return this.norm ? this.norm.forward(encoded) : encoded
  }
}
