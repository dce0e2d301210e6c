import { AnnealError } from '../errors'
import { CellReader, type ColumnType, type CsvOptions, type CsvRow, readCsvRows } from './csv'
import { Dataset } from './dataset'
import type { NdArray } from './ndarray'
import { seekable } from './operators'

export interface CsvDatasetOptions extends CsvOptions {
  /** The columns to read, in this order; default all, without the target. */
  readonly columns?: readonly string[]
}

export interface SupervisedCsvOptions extends CsvDatasetOptions {
  /** The column to be predicted, or several. */
  readonly target: string | readonly string[]
  /** The texts of a target of classes, in the order of their numbers. */
  readonly classes?: readonly string[]
}

/** A row of a CSV file by column names. */
export type CsvRecord = Record<string, number | string | null>
/** A row's features, and its target: a number, several, or a class number (int32). */
export type CsvExample = [x: Float32Array, y: number | Float32Array | NdArray<Int32Array>]

/** Rows from which a stream infers what its columns hold. */
const SAMPLE = 100

/**
 * A stream over a CSV file, read anew in each pass and never held whole. Elements are records by column name; with a
 * `target` they are `[features, target]`, ready to batch: float32 features, and the target as a number, as several
 * numbers (`target: [...]`), or as the int32 position in `classes`.
 *
 * Column types come from `types`, or from the first 100 rows. See {@link readCsv} for a table in memory.
 *
 * @throws AnnealError while reading: `ERR_IO`; `ERR_FORMAT` naming file, line and column, what was expected and what
 * came; `ERR_VALUE` for a column that is not there.
 */
export function fromCsv(path: string, options: SupervisedCsvOptions): Dataset<CsvExample>
export function fromCsv(path: string, options?: CsvDatasetOptions): Dataset<CsvRecord>
export function fromCsv(path: string, options: CsvDatasetOptions | SupervisedCsvOptions = {}): unknown {
  return new Dataset<unknown>(seekable(() => readElements(path, options)))
}

async function* readElements(
  path: string,
  options: CsvDatasetOptions | SupervisedCsvOptions,
): AsyncGenerator<unknown, void> {
  const rows = readCsvRows(path, options)
  try {
    const header = await rows.next()
    const cells = new CellReader(path, header.value!.cells, options)
    const first = await takeRows(rows, 'target' in options ? 0 : SAMPLE)
    const convert = 'target' in options ? exampleReader(cells, options) : recordReader(cells, options, first)
    for (const row of first) yield convert(row)
    for await (const row of rows) yield convert(row)
  } finally {
    await rows.return()
  }
}

async function takeRows(rows: AsyncGenerator<CsvRow, void>, count: number): Promise<CsvRow[]> {
  const taken: CsvRow[] = []
  while (taken.length < count) {
    const { done, value } = await rows.next()
    if (done) break
    taken.push(value)
  }
  return taken
}

function recordReader(cells: CellReader, options: CsvDatasetOptions, sample: readonly CsvRow[]) {
  const columns = (options.columns ?? cells.names).map(name => {
    const at = cells.position(name)
    const numeric = (row: CsvRow) => cells.tryNumber(row.cells[at]!) !== undefined
    return { name, at, type: options.types?.[name] ?? (sample.every(numeric) ? 'number' : 'string') }
  })
  const read = (row: CsvRow, at: number, type: ColumnType) =>
    type === 'number' ? cells.number(row, at) : cells.text(row, at)
  return (row: CsvRow): CsvRecord =>
    Object.fromEntries(columns.map(({ name, at, type }) => [name, read(row, at, type)]))
}

function exampleReader(cells: CellReader, options: SupervisedCsvOptions) {
  const targets = typeof options.target === 'string' ? [options.target] : options.target
  const features = options.columns ?? cells.names.filter(name => !targets.includes(name))
  if (features.length === 0)
    throw new AnnealError('ERR_VALUE', 'fromCsv: expected at least one feature column beside the target')
  const positions = features.map(name => cells.position(name))
  const target = targetReader(cells, options, targets)
  return (row: CsvRow): CsvExample => {
    const x = new Float32Array(positions.length)
    // Not Float32Array.from: with a function it takes as long as the parsing.
    for (let i = 0; i < x.length; i++) x[i] = cells.number(row, positions[i]!)
    return [x, target(row)]
  }
}

function targetReader(cells: CellReader, { target, classes }: SupervisedCsvOptions, names: readonly string[]) {
  const positions = names.map(name => cells.position(name))
  if (classes && positions.length !== 1) {
    throw new AnnealError('ERR_VALUE', `fromCsv: classes need one target column, got ${positions.length}`)
  }
  const numbers = classes && new Map(classes.map((name, i) => [name, i]))
  const read = (row: CsvRow, at: number): number => {
    const value = numbers ? numbers.get(row.cells[at]!.trim()) : cells.tryNumber(row.cells[at]!)
    if (value !== undefined && !Number.isNaN(value)) return value
    const expected = classes ? `one of the classes ${classes.join(', ')}` : 'a number as target'
    throw cells.unexpected(row, at, expected, classes ? 'name every class' : 'give classes if it is text')
  }
  return (row: CsvRow): CsvExample[1] => {
    if (numbers) return { data: Int32Array.of(read(row, positions[0]!)), shape: [] }
    return typeof target === 'string' ? read(row, positions[0]!) : Float32Array.from(positions, at => read(row, at))
  }
}
