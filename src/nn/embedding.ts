import { AnnealError } from '../errors'
import { concat, embedding, full, narrow } from '../ops.generated'
import type { Parameter, Tensor } from '../tensor'
import { shown, whole } from './check'
import { normal, set } from './init'
import { Layer, type WeightOptions } from './layer'
import { filled } from './parameters'

export interface EmbeddingOptions extends WeightOptions {
  /** A row that begins as zeros and gets no gradient; negative ones count from the end. */
  paddingIndex?: number
}

/**
 * A trained vector for each of `count` indices: int32 or int64 indices of any shape [...] to [..., size]. The weight
 * [count, size] begins standard normal.
 */
export class Embedding extends Layer {
  readonly weight: Parameter

  constructor(
    readonly count: number,
    readonly size: number,
    private readonly options: EmbeddingOptions = {},
  ) {
    super(count, size, options)
    whole(this.label, 'count', count)
    whole(this.label, 'size', size)
    this.weight = normal(filled([count, size], 0))
    if (options.paddingIndex !== undefined) this.#clearRow(options.paddingIndex)
  }

  #clearRow(index: number): void {
    const row = index < 0 ? index + this.count : index
    if (!Number.isInteger(index) || row < 0 || row >= this.count) {
      throw new AnnealError(
        'ERR_VALUE',
        `${this.label}: expected paddingIndex to be a row of ${this.count}; got ${shown(index)}`,
      )
    }
    set(this.weight, () => {
      const above = narrow(this.weight, 0, 0, row)
      const below = narrow(this.weight, 0, row + 1, this.count - row - 1)
      return concat([above, full([1, this.size], 0), below])
    })
  }

  forward(index: Tensor): Tensor {
    return embedding(this.weight, index, { paddingIndex: this.options.paddingIndex })
  }
}
