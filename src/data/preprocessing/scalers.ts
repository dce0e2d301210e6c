import { AnnealError } from '../../errors'
import type { NdArray } from '../ndarray'
import { type MatrixInput, numericColumn, toColumns, toMatrix, type ValueColumn } from './columns'
import { SavedFields } from './saved'
import { meanAndVariance, present, quantile } from './statistics'
import { learnt, type SavedStep, Transformer } from './transformer'

/** x ↦ (x - center) / scale, by column. */
interface Affine {
  readonly center: Float64Array
  readonly scale: Float64Array
}

interface Line {
  readonly center: number
  readonly scale: number
}

/** A scaler by column; missing values are left out of `fit` and stay missing. */
abstract class Scaler extends Transformer {
  protected state: Affine | undefined

  /** The centre and scale that the present values of a column give; scale 0 where they are constant. */
  protected abstract line(values: Float64Array): Line

  override fitColumns(columns: readonly ValueColumn[]): void {
    const lines = columns.map((column, i) => this.#fitColumn(column, i))
    this.state = {
      center: Float64Array.from(lines, line => line.center),
      scale: Float64Array.from(lines, line => line.scale),
    }
  }

  override transformColumns(columns: readonly ValueColumn[]): Float64Array[] {
    return this.#map(columns, 'transform', (value, center, scale) => (value - center) / scale)
  }

  /** The matrix that `transform` made this of. */
  inverseTransform(x: MatrixInput): NdArray<Float32Array> {
    const where = `${this.kind}.inverseTransform`
    const back = this.#map(toColumns(x, where), 'inverseTransform', (value, center, scale) => value * scale + center)
    return toMatrix(back, where)
  }

  protected saved(): { center?: number[]; scale?: number[] } {
    return this.state ? { center: [...this.state.center], scale: [...this.state.scale] } : {}
  }

  /** Takes what {@link saved} gave. */
  protected restore(fields: SavedFields): this {
    if (!fields.has('center')) return this
    const center = fields.numbers('center')
    this.state = { center, scale: fields.numbers('scale', center.length) }
    return this
  }

  #fitColumn(column: ValueColumn, index: number): Line {
    const values = present(numericColumn(column, index, `${this.kind}.fit`))
    if (values.length === 0) {
      throw new AnnealError('ERR_VALUE', `${this.kind}.fit: column ${index} has no value at all; impute or drop it`)
    }
    const { center, scale } = this.line(values)
    if (!Number.isFinite(center) || !Number.isFinite(scale)) {
      throw new AnnealError('ERR_VALUE', `${this.kind}.fit: column ${index}: the values are too large to scale`)
    }
    return { center, scale: scale === 0 ? 1 : scale }
  }

  #map(columns: readonly ValueColumn[], verb: string, fn: (value: number, center: number, scale: number) => number) {
    const { center, scale } = learnt(this.state, this.kind, { expected: s => s.center.length, found: columns.length })
    return columns.map((column, k) => {
      const values = numericColumn(column, k, `${this.kind}.${verb}`)
      const scaled = new Float64Array(values.length)
      for (let row = 0; row < values.length; row++) scaled[row] = fn(values[row]!, center[k]!, scale[k]!)
      return scaled
    })
  }
}

export interface StandardScalerOptions {
  /** Subtract the mean; default true. */
  readonly withMean?: boolean
  /** Divide by the standard deviation; default true. */
  readonly withStd?: boolean
}

/**
 * (x - mean) / standard deviation, the population's, by column; a constant column is only centred. As scikit-learn's
 * `StandardScaler`.
 */
export class StandardScaler extends Scaler {
  override readonly kind = 'StandardScaler'

  constructor(private readonly options: StandardScalerOptions = {}) {
    super()
  }

  protected override line(values: Float64Array): Line {
    const { withMean = true, withStd = true } = this.options
    const { mean, variance } = meanAndVariance(values)
    // What rounding alone makes of a constant column is no spread.
    const noise = values.length * Number.EPSILON * variance + (values.length * mean * Number.EPSILON) ** 2
    const scale = variance <= noise && Number.isFinite(variance) ? 0 : Math.sqrt(variance)
    return { center: withMean ? mean : 0, scale: withStd ? scale : 1 }
  }

  override toJSON(): SavedStep {
    const { withMean = true, withStd = true } = this.options
    return { kind: this.kind, withMean, withStd, ...this.saved() }
  }

  static fromJSON(saved: unknown): StandardScaler {
    const fields = new SavedFields(saved)
    return new StandardScaler({ withMean: fields.boolean('withMean'), withStd: fields.boolean('withStd') }).restore(
      fields,
    )
  }
}

export interface MinMaxScalerOptions {
  /** Where the least and greatest value go; default [0, 1]. */
  readonly featureRange?: readonly [number, number]
  /** Keeps values beyond those seen in `fit` within the range; default false. */
  readonly clip?: boolean
}

/**
 * Brings the range of each column to `featureRange`; a constant column goes to its lower end. As scikit-learn's
 * `MinMaxScaler`.
 */
export class MinMaxScaler extends Scaler {
  override readonly kind = 'MinMaxScaler'
  readonly #range: readonly [number, number]
  readonly #clip: boolean

  constructor({ featureRange = [0, 1], clip = false }: MinMaxScalerOptions = {}) {
    super()
    const [low, high] = featureRange
    if (!(low < high) || !Number.isFinite(high - low)) {
      throw new AnnealError(
        'ERR_VALUE',
        `MinMaxScaler: expected featureRange [low, high] with low < high, got [${featureRange}]`,
      )
    }
    this.#range = [low, high]
    this.#clip = clip
  }

  protected override line(values: Float64Array): Line {
    const [low, high] = this.#range
    const least = values.reduce((a, b) => Math.min(a, b), Infinity)
    const spread = values.reduce((a, b) => Math.max(a, b), -Infinity) - least
    const scale = (spread === 0 ? 1 : spread) / (high - low)
    return { center: least - low * scale, scale }
  }

  override transformColumns(columns: readonly ValueColumn[]): Float64Array[] {
    const scaled = super.transformColumns(columns)
    const [low, high] = this.#range
    return this.#clip ? scaled.map(column => column.map(value => Math.min(high, Math.max(low, value)))) : scaled
  }

  override toJSON(): SavedStep {
    return { kind: this.kind, featureRange: [...this.#range], clip: this.#clip, ...this.saved() }
  }

  static fromJSON(saved: unknown): MinMaxScaler {
    const fields = new SavedFields(saved)
    const [low, high] = fields.numbers('featureRange', 2)
    return new MinMaxScaler({ featureRange: [low!, high!], clip: fields.boolean('clip') }).restore(fields)
  }
}

export interface RobustScalerOptions {
  /** The quantiles whose distance is the scale, in percent; default [25, 75]. */
  readonly quantileRange?: readonly [number, number]
}

/**
 * (x - median) / interquartile range by column, which outliers do not move; a column without such a range is only
 * centred. As scikit-learn's `RobustScaler`.
 */
export class RobustScaler extends Scaler {
  override readonly kind = 'RobustScaler'
  readonly #quantiles: readonly [number, number]

  constructor({ quantileRange = [25, 75] }: RobustScalerOptions = {}) {
    super()
    const [low, high] = quantileRange
    if (!(low >= 0 && low < high && high <= 100)) {
      throw new AnnealError(
        'ERR_VALUE',
        `RobustScaler: expected quantileRange with 0 <= low < high <= 100, got [${quantileRange}]`,
      )
    }
    this.#quantiles = [low, high]
  }

  protected override line(values: Float64Array): Line {
    const sorted = values.sort()
    const [low, high] = this.#quantiles
    return { center: quantile(sorted, 0.5), scale: quantile(sorted, high / 100) - quantile(sorted, low / 100) }
  }

  override toJSON(): SavedStep {
    return { kind: this.kind, quantileRange: [...this.#quantiles], ...this.saved() }
  }

  static fromJSON(saved: unknown): RobustScaler {
    const fields = new SavedFields(saved)
    const [low, high] = fields.numbers('quantileRange', 2)
    return new RobustScaler({ quantileRange: [low!, high!] }).restore(fields)
  }
}
