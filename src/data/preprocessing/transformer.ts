import { AnnealError } from '../../errors'
import type { NdArray } from '../ndarray'
import { type MatrixInput, toColumns, toMatrix, type ValueColumn } from './columns'

/** What a preprocessing step is saved as: plain JSON that names its kind. */
export interface SavedStep {
  readonly kind: string
  readonly [field: string]: unknown
}

/** A step that learns from columns and then turns columns into others; rows stay rows. */
export abstract class Transformer {
  /** Names the class in a saved model. */
  abstract readonly kind: string

  /** Learns from `x`, of shape [rows, columns]; forgets what it learnt before. */
  fit(x: MatrixInput): this {
    this.fitColumns(toColumns(x, `${this.kind}.fit`))
    return this
  }

  /**
   * `x`, of shape [rows, columns], as a float32 matrix.
   *
   * @throws AnnealError `ERR_STATE` before `fit`; `ERR_SHAPE` for another number of columns; `ERR_DTYPE` for text where
   * numbers are needed; `ERR_VALUE` for infinities.
   */
  transform(x: MatrixInput): NdArray<Float32Array> {
    const where = `${this.kind}.transform`
    return toMatrix(this.transformColumns(toColumns(x, where)), where)
  }

  /** Fits, and transforms the same rows. */
  fitTransform(x: MatrixInput): NdArray<Float32Array> {
    return this.fit(x).transform(x)
  }

  /** `fit` for columns of equal length, at least one. */
  abstract fitColumns(columns: readonly ValueColumn[]): void
  abstract transformColumns(columns: readonly ValueColumn[]): ValueColumn[]
  /** The names of the columns that come out, from the names of those that go in. */
  featureNames(names: readonly string[]): string[] {
    return [...names]
  }
  abstract toJSON(): SavedStep
}

/** What a step has learnt; throws `ERR_STATE` before `fit`, and `ERR_SHAPE` for another number of columns. */
export function learnt<S>(
  state: S | undefined,
  kind: string,
  width?: { expected: (state: S) => number; found: number },
): S {
  if (state === undefined) throw new AnnealError('ERR_STATE', `${kind}: not fitted yet; call fit first`)
  if (width && width.expected(state) !== width.found) {
    throw new AnnealError(
      'ERR_SHAPE',
      `${kind}: expected ${width.expected(state)} columns as in fit, got ${width.found}`,
    )
  }
  return state
}
