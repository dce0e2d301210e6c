import { AnnealError } from '../../errors'
import { describe, type NdArray } from '../ndarray'
import { Table } from '../table'
import { toMatrix, type Value, type ValueColumn } from './columns'
import { type SavedStep, Transformer } from './transformer'

/** Transformers one after another, as one. */
export class Pipeline extends Transformer {
  override readonly kind = 'Pipeline'

  constructor(readonly steps: readonly Transformer[]) {
    super()
    if (steps.length === 0) throw new AnnealError('ERR_VALUE', 'Pipeline: expected at least one step, got none')
  }

  override fitColumns(columns: readonly ValueColumn[]): void {
    let current = columns
    this.steps.forEach((step, i) => {
      step.fitColumns(current)
      if (i < this.steps.length - 1) current = step.transformColumns(current)
    })
  }

  override transformColumns(columns: readonly ValueColumn[]): ValueColumn[] {
    return this.steps.reduce<ValueColumn[]>((current, step) => step.transformColumns(current), [...columns])
  }

  override featureNames(names: readonly string[]): string[] {
    return this.steps.reduce<string[]>((current, step) => step.featureNames(current), [...names])
  }

  override toJSON(): SavedStep {
    return { kind: this.kind, steps: this.steps.map(step => step.toJSON()) }
  }
}

/** A row by column names, as JSON gives it. */
export type DataRecord = Readonly<Record<string, Value>>
/** A table, rows as records, or one record. */
export type RecordInput = Table | readonly DataRecord[] | DataRecord

/** A transformer and the columns it is for. */
export interface ColumnStep {
  readonly columns: readonly string[]
  /** 'passthrough' takes columns of numbers as they are. */
  readonly transformer: Transformer | 'passthrough'
}

/**
 * Applies transformers to named columns and puts what they give side by side, in the order of the steps: from a table
 * or records to a float32 feature matrix. Columns that no step names are left out. As scikit-learn's
 * `ColumnTransformer`.
 */
export class ColumnTransformer {
  readonly kind = 'ColumnTransformer'

  constructor(readonly steps: readonly ColumnStep[]) {
    if (steps.length === 0 || steps.some(({ columns }) => columns.length === 0)) {
      throw new AnnealError('ERR_VALUE', 'ColumnTransformer: expected steps with at least one column each, got none')
    }
  }

  /** The names of the columns that are read. */
  get columnNames(): string[] {
    return [...new Set(this.steps.flatMap(step => step.columns))]
  }

  /** The names of the columns of the matrix: `sex=female` for a category. */
  featureNames(): string[] {
    return this.steps.flatMap(({ columns, transformer }) => {
      return transformer === 'passthrough' ? columns : transformer.featureNames(columns)
    })
  }

  fit(rows: RecordInput): this {
    const columns = readColumns(rows, this.columnNames, `${this.kind}.fit`)
    for (const { columns: names, transformer } of this.steps) {
      if (transformer !== 'passthrough') named(names, () => transformer.fitColumns(pick(columns, names)))
    }
    return this
  }

  /** The features of the rows, [rows, features]; a single record gives one row. */
  transform(rows: RecordInput): NdArray<Float32Array> {
    const columns = readColumns(rows, this.columnNames, `${this.kind}.transform`)
    const features = this.steps.flatMap(({ columns: names, transformer }) => {
      const picked = pick(columns, names)
      return transformer === 'passthrough' ? picked : named(names, () => transformer.transformColumns(picked))
    })
    return toMatrix(features, this.kind)
  }

  /** Fits, and transforms the same rows. */
  fitTransform(rows: RecordInput): NdArray<Float32Array> {
    return this.fit(rows).transform(rows)
  }

  /** The features of one record, for prediction or a dataset's `map`. */
  transformRecord(record: DataRecord): Float32Array {
    return this.transform(record).data
  }

  toJSON(): SavedStep {
    const steps = this.steps.map(({ columns, transformer }) => ({
      columns: [...columns],
      transformer: transformer === 'passthrough' ? transformer : transformer.toJSON(),
    }))
    return { kind: this.kind, steps }
  }
}

function readColumns(rows: RecordInput, names: readonly string[], where: string): Map<string, ValueColumn> {
  if (rows instanceof Table) return new Map(names.map(name => [name, rows.column(name)]))
  const records = Array.isArray(rows) ? (rows as readonly DataRecord[]) : [rows as DataRecord]
  if (records.length === 0) throw new AnnealError('ERR_VALUE', `${where}: expected at least one record, got none`)
  return new Map(names.map(name => [name, records.map((record, row) => field(record, name, row, where))]))
}

function field(record: DataRecord, name: string, row: number, where: string): Value {
  if (typeof record !== 'object' || record === null) {
    throw new AnnealError('ERR_VALUE', `${where}: expected a record as row ${row}, got ${describe(record)}`)
  }
  if (Object.hasOwn(record, name)) return record[name]
  throw new AnnealError(
    'ERR_VALUE',
    `${where}: row ${row} has no field ${JSON.stringify(name)}; it has ${Object.keys(record).join(', ') || 'none'}; give null where the value is unknown`,
  )
}

function pick(columns: ReadonlyMap<string, ValueColumn>, names: readonly string[]): ValueColumn[] {
  return names.map(name => columns.get(name)!)
}

/** Adds the columns' names to an error, which else counts them only. */
function named<R>(names: readonly string[], run: () => R): R {
  try {
    return run()
  } catch (cause) {
    if (!(cause instanceof AnnealError)) throw cause
    throw new AnnealError(cause.code, `${cause.message} (columns: ${names.join(', ')})`, { cause })
  }
}
