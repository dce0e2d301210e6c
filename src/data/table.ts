import { AnnealError } from '../errors'
import { CellReader, type CsvOptions, readCsvRows } from './csv'
import type { CsvRecord } from './csvdataset'
import type { Parts } from './dataset'
import { IndexedDataset } from './indexed'
import type { NdArray } from './ndarray'
import { type Label, partition, readLabels } from './partition'
import { checkSeed } from './random'
import { RowSource } from './source'

/** A column of a table: numbers with NaN, or text with null, where there is no value. */
export type TableColumn = Float64Array | readonly (string | null)[]

/** A table in memory, by columns. */
export class Table {
  readonly #columns: ReadonlyMap<string, TableColumn>
  readonly length: number

  /** @throws AnnealError `ERR_SHAPE` where columns differ in length, `ERR_VALUE` for no columns or no rows */
  constructor(columns: Readonly<Record<string, TableColumn>> | ReadonlyMap<string, TableColumn>) {
    this.#columns = columns instanceof Map ? columns : new Map(Object.entries(columns))
    const lengths = [...this.#columns].map(([name, column]) => ({ name, length: column.length }))
    this.length = lengths[0]?.length ?? 0
    if (lengths.some(({ length }) => length !== this.length)) {
      const found = lengths.map(({ name, length }) => `${name} has ${length}`).join(', ')
      throw new AnnealError('ERR_SHAPE', `table: expected columns of one length, but ${found}`)
    }
    if (this.length === 0)
      throw new AnnealError('ERR_VALUE', 'table: expected at least one column and one row, got none')
  }

  get columnNames(): string[] {
    return [...this.#columns.keys()]
  }

  /** One column; throws `ERR_VALUE` naming those there are. */
  column(name: string): TableColumn {
    const column = this.#columns.get(name)
    if (column) return column
    throw new AnnealError(
      'ERR_VALUE',
      `table: there is no column ${JSON.stringify(name)}; the columns are ${this.columnNames.join(', ')}`,
    )
  }

  /** A column of numbers; throws `ERR_DTYPE` with the first text that stands in it. */
  numbers(name: string): Float64Array {
    const column = this.column(name)
    if (column instanceof Float64Array) return column
    const row = column.findIndex(cell => cell !== null && !Number.isFinite(Number(cell)))
    const found = row < 0 ? 'text' : `${JSON.stringify(column[row])} in row ${row}`
    throw new AnnealError(
      'ERR_DTYPE',
      `table: column ${name}: expected numbers, got ${found}; encode it, or leave it out`,
    )
  }

  /** Columns of numbers as a float32 matrix `[rows, names]`; by default all columns. */
  features(names: readonly string[] = this.columnNames): NdArray<Float32Array> {
    const data = new Float32Array(this.length * names.length)
    names.forEach((name, k) => {
      const column = this.numbers(name)
      for (let row = 0; row < this.length; row++) data[row * names.length + k] = column[row]!
    })
    return { data, shape: [this.length, names.length] }
  }

  /** Row `index` as a record. */
  row(index: number): CsvRecord {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) {
      throw new AnnealError('ERR_INDEX', `table: expected a row from 0 to ${this.length - 1}, got ${index}`)
    }
    return Object.fromEntries([...this.#columns].map(([name, column]) => [name, column[index]!]))
  }

  /** The rows at `indices`, in that order. */
  select(indices: ArrayLike<number>): Table {
    const rows = Array.from(indices)
    const bad = rows.find(row => !Number.isSafeInteger(row) || row < 0 || row >= this.length)
    if (bad !== undefined)
      throw new AnnealError('ERR_INDEX', `table: expected rows from 0 to ${this.length - 1}, got ${bad}`)
    const pick = (column: TableColumn): TableColumn => {
      return column instanceof Float64Array
        ? Float64Array.from(rows, row => column[row]!)
        : rows.map(row => column[row]!)
    }
    return new Table(new Map([...this.#columns].map(([name, column]) => [name, pick(column)])))
  }

  /** Disjoint tables with the given fractions of the rows; `stratify` is a column's name or one label per row. */
  split<const F extends readonly number[]>(
    fractions: F,
    options: { seed?: number; shuffle?: boolean; stratify?: string | ArrayLike<Label> } = {},
  ): Parts<F, Table> {
    const { seed = 0, shuffle = true, stratify } = options
    checkSeed(seed, 'split')
    const given = typeof stratify === 'string' ? this.column(stratify) : stratify
    const labels = given && readLabels<unknown>(given, this.length, () => undefined, 'split')
    return partition(this.length, fractions, { seed, shuffle, labels }).map(rows => this.select(rows)) as Parts<
      F,
      Table
    >
  }

  /** The rows as a dataset of records. */
  toDataset(): IndexedDataset<CsvRecord> {
    return new IndexedDataset<CsvRecord>(new RowSource(this.length, index => this.row(index)))
  }
}

/**
 * A whole CSV file as a {@link Table}. A column holds numbers where every cell that has a value is one, else text.
 *
 * @throws AnnealError as {@link fromCsv}
 */
export async function readCsv(
  path: string,
  options: CsvOptions & { columns?: readonly string[] } = {},
): Promise<Table> {
  const rows = readCsvRows(path, options)
  const header = await rows.next()
  const cells = new CellReader(path, header.value!.cells, options)
  const columns = (options.columns ?? cells.names).map(name => new ColumnBuilder(name, cells, options.types?.[name]))
  for await (const row of rows) for (const column of columns) column.add(row)
  return new Table(new Map(columns.map(column => [column.name, column.finish()])))
}

/** Keeps a column as numbers as long as it can be one, beside its text until that is decided. */
class ColumnBuilder {
  readonly #position: number
  readonly #numbers: number[] = []
  readonly #text: (string | null)[] = []
  #numeric: boolean

  constructor(
    readonly name: string,
    private readonly cells: CellReader,
    private readonly type: 'number' | 'string' | undefined,
  ) {
    this.#position = cells.position(name)
    this.#numeric = type !== 'string'
  }

  add(row: Parameters<CellReader['number']>[0]): void {
    if (this.type === 'number') this.#numbers.push(this.cells.number(row, this.#position))
    else this.#text.push(this.cells.text(row, this.#position))
    if (this.type !== undefined || !this.#numeric) return
    const value = this.cells.tryNumber(row.cells[this.#position]!)
    if (value === undefined) this.#numeric = false
    else this.#numbers.push(value)
  }

  finish(): TableColumn {
    return this.#numeric ? Float64Array.from(this.#numbers) : this.#text
  }
}
