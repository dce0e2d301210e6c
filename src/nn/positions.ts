import { tensor } from '../creation'
import { AnnealError } from '../errors'
import { keep } from '../lifetime'
import { narrow, rotaryEmbedding } from '../ops.generated'
import type { Tensor } from '../tensor'
import type { RotaryOptions } from './attention'
import { lastAxis, whole, within } from './check'
import { Dropout } from './dropout'
import { Layer } from './layer'

// A gigabyte of sines and cosines, which takes seconds to compute.
const mostValues = 2 ** 28

/**
 * Adds sines and cosines of the positions to [N, T, size] (Vaswani et al., 2017): sin(t / 10000^(2i / size)) at 2i, the cosine
 * at 2i + 1. Drops elements with probability `dropout` while training.
 */
export class PositionalEncoding extends Layer {
  readonly dropout: Dropout
  readonly #table: Tensor

  /** @param options.length The most positions. Default: 5000. */
  constructor(
    readonly size: number,
    options: { length?: number; dropout?: number } = {},
  ) {
    super(size, options)
    whole(this.label, 'size', size)
    const length = whole(this.label, 'length', options.length ?? 5000)
    within(this.label, 'length times size', length * size, 1, mostValues)
    this.dropout = new Dropout(options.dropout ?? 0)
    this.#table = keep(tensor(waves(length, size), { shape: [length, size] }))
  }

  forward(x: Tensor): Tensor {
    lastAxis(this.label, x, this.size)
    const steps = x.shape.at(-2) ?? 0
    const length = this.#table.shape[0]!
    if (x.ndim < 2 || steps > length) {
      throw new AnnealError(
        'ERR_SHAPE',
        `${this.label}: expected inputs of shape [N, T, ${this.size}] with T up to ${length}; got [${x.shape}]`,
      )
    }
    return this.dropout.forward(x.add(narrow(this.#table, 0, 0, steps).cast(x.dtype)))
  }
}

/**
 * Turns pairs of the last axis of [..., T, size] by angles that grow with the position (Su et al., 2021). Positions count from
 * 0, or are given as integers that broadcast to [..., T].
 */
export class RotaryEmbedding extends Layer {
  constructor(
    readonly size: number,
    private readonly options: RotaryOptions = {},
  ) {
    super(size, options)
    whole(this.label, 'half of size', size / 2)
  }

  forward(x: Tensor, positions?: Tensor): Tensor {
    lastAxis(this.label, x, this.size)
    return rotaryEmbedding(x, positions, undefined, this.options)
  }
}

function waves(length: number, size: number): Float32Array {
  const table = new Float32Array(length * size)
  for (let i = 0; i < size; i++) {
    const frequency = 10000 ** (-(i - (i % 2)) / size)
    const wave = i % 2 === 0 ? Math.sin : Math.cos
    for (let t = 0; t < length; t++) table[t * size + i] = wave(t * frequency)
  }
  return table
}
