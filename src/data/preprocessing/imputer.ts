import { AnnealError } from '../../errors'
import { isMissing, numericColumn, type Value, type ValueColumn } from './columns'
import { compareValues } from './encoders'
import { SavedFields } from './saved'
import { meanAndVariance, present, quantile } from './statistics'
import { learnt, type SavedStep, Transformer } from './transformer'

const strategies = ['mean', 'median', 'mostFrequent', 'constant'] as const
type Strategy = (typeof strategies)[number]
type Fill = number | string | boolean

export interface SimpleImputerOptions {
  /** Default 'mean'. The first two need numbers, the others take text as well. */
  readonly strategy?: Strategy
  /** What 'constant' fills in; default 0. */
  readonly fillValue?: Fill
}

/**
 * Replaces missing values (NaN, null, undefined) by a value learnt for their column. Among equally frequent values the
 * least wins. As scikit-learn's `SimpleImputer`, but a column without any value is an error instead of being dropped.
 */
export class SimpleImputer extends Transformer {
  override readonly kind = 'SimpleImputer'
  readonly #strategy: Strategy
  readonly #fillValue: Fill
  #fills: readonly Fill[] | undefined

  constructor({ strategy = 'mean', fillValue = 0 }: SimpleImputerOptions = {}) {
    super()
    if (!strategies.includes(strategy)) {
      throw new AnnealError(
        'ERR_VALUE',
        `SimpleImputer: expected strategy ${strategies.join(', ')}, got ${String(strategy)}`,
      )
    }
    if (typeof fillValue === 'number' && !Number.isFinite(fillValue)) {
      throw new AnnealError('ERR_VALUE', `SimpleImputer: expected a finite fillValue, got ${fillValue}`)
    }
    this.#strategy = strategy
    this.#fillValue = fillValue
  }

  override fitColumns(columns: readonly ValueColumn[]): void {
    this.#fills = columns.map((column, i) => this.#learn(column, i))
  }

  override transformColumns(columns: readonly ValueColumn[]): ValueColumn[] {
    const fills = learnt(this.#fills, this.kind, { expected: f => f.length, found: columns.length })
    return columns.map((column, k) => {
      const fill = fills[k]!
      if (column instanceof Float64Array && typeof fill === 'number') {
        return column.map(value => (Number.isNaN(value) ? fill : value))
      }
      return Array.from(column as readonly Value[], value => (isMissing(value) ? fill : value))
    })
  }

  override toJSON(): SavedStep {
    const fills = this.#fills && { fills: [...this.#fills] }
    return { kind: this.kind, strategy: this.#strategy, fillValue: this.#fillValue, ...fills }
  }

  static fromJSON(saved: unknown): SimpleImputer {
    const fields = new SavedFields(saved)
    const imputer = new SimpleImputer({
      strategy: fields.choice('strategy', strategies),
      fillValue: fields.value('fillValue'),
    })
    if (fields.has('fills')) imputer.#fills = fields.values('fills').map(fill => fill ?? 0)
    return imputer
  }

  #learn(column: ValueColumn, index: number): Fill {
    if (this.#strategy === 'constant') return this.#fillValue
    const where = `${this.kind}.fit`
    const fill =
      this.#strategy === 'mostFrequent' ? mostFrequent(column) : this.#average(numericColumn(column, index, where))
    if (fill !== undefined) return fill
    throw new AnnealError(
      'ERR_VALUE',
      `${where}: column ${index} has no value to learn from; drop it or use strategy 'constant'`,
    )
  }

  #average(column: Float64Array): number | undefined {
    const values = present(column)
    if (values.length === 0) return undefined
    return this.#strategy === 'mean' ? meanAndVariance(values).mean : quantile(values.sort(), 0.5)
  }
}

function mostFrequent(column: ValueColumn): Fill | undefined {
  const counts = new Map<Value, number>()
  for (const value of column) if (!isMissing(value)) counts.set(value, (counts.get(value) ?? 0) + 1)
  const [best] = [...counts].sort(([a, m], [b, n]) => n - m || compareValues(a, b))
  return best && (typeof best[0] === 'bigint' ? Number(best[0]) : (best[0] as Fill))
}
