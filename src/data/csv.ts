import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { CsvError, type Options, parse } from 'csv-parse'
import { AnnealError } from '../errors'
import { asIoError } from '../io/files'
import { formatError } from './files'
import { describe } from './ndarray'

/** What the fields of a column are read as. */
export type ColumnType = 'number' | 'string'

export interface CsvOptions {
  /** Default a comma. */
  readonly delimiter?: string
  /** True (default) where the first line names the columns; false names them `column0` …; or the names themselves. */
  readonly header?: boolean | readonly string[]
  /** What columns hold, where it is known; otherwise the cells tell: numbers where all of them are. */
  readonly types?: Readonly<Record<string, ColumnType>>
  /** Cells that mean "no value": NaN in a column of numbers, null in one of text. Default '', NA, NaN, nan, null. */
  readonly missing?: readonly string[]
  /** What begins a comment line; none by default. */
  readonly comment?: string
}

/** A line of the file, for messages, and its cells as text. */
export interface CsvRow {
  readonly line: number
  readonly cells: readonly string[]
}

const DEFAULT_MISSING = ['', 'NA', 'NaN', 'nan', 'null']
/** A record longer than this is taken for a quote that is never closed. */
const MAX_RECORD = 2 ** 24
const PREFIX = /^\s*[+-]?0[xbo]/i
const NUMBER = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)$/i

/**
 * A CSV file (RFC 4180) as rows of text, the column names first. Holds a block of the file and few rows.
 *
 * @throws AnnealError `ERR_IO`; `ERR_FORMAT` naming file and line for a broken quote, a row of another length than the
 * first, a name that comes twice, or a file without rows.
 */
export async function* readCsvRows(path: string, options: CsvOptions): AsyncGenerator<CsvRow, void> {
  const { delimiter = ',', header = true, comment } = options
  checkText('delimiter', delimiter)
  if (comment !== undefined) checkText('comment', comment)
  const settings: Options<CsvRow, string[]> = {
    delimiter,
    bom: true,
    comment: comment ?? null,
    comment_no_infix: comment !== undefined,
    skip_empty_lines: true,
    max_record_size: MAX_RECORD,
    on_record: (cells, { lines }) => ({ line: lines, cells }),
  }
  // The library's types let on_record change the type only where it reads the header itself.
  const parser = parse(settings as unknown as Options)
  const file = createReadStream(path)
  // Errors of either end come out of the parser; the callback only keeps them from being unhandled.
  pipeline(file, parser, () => {})
  let names: readonly string[] | undefined
  let rows = 0
  try {
    for await (const row of parser as AsyncIterable<CsvRow>) {
      if (names === undefined) {
        names = columnNames(header, row, path)
        yield { line: row.line, cells: names }
        if (header === true) continue
      }
      rows++
      yield row
    }
  } catch (error) {
    throw csvError(error, path)
  } finally {
    parser.destroy()
    file.destroy()
  }
  if (names === undefined)
    throw formatError(
      `${path}: expected a CSV file with ${header === true ? 'a header and ' : ''}rows, got an empty file`,
    )
  if (rows === 0) throw formatError(`${path}: expected rows after the header, got none`)
}

function checkText(name: string, value: unknown): void {
  if (typeof value === 'string' && value !== '') return
  const got = value === '' ? 'none' : describe(value)
  throw new AnnealError('ERR_VALUE', `csv: expected ${name} to be a text of at least one character, got ${got}`)
}

function columnNames(header: CsvOptions['header'], first: CsvRow, path: string): readonly string[] {
  const names = header === true ? first.cells.map(name => name.trim()) : header
  if (!names) return first.cells.map((_, i) => `column${i}`)
  if (names.length !== first.cells.length) {
    throw formatError(
      `${path}:${first.line}: header names ${names.length} columns, but the row has ${first.cells.length}`,
    )
  }
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) {
    throw formatError(`${path}:${first.line}: expected column names that differ, got ${JSON.stringify(twice)} twice`)
  }
  return names
}

function csvError(error: unknown, path: string): unknown {
  if (!(error instanceof CsvError)) return asIoError('read', path, error)
  const details = error as unknown as { lines?: number; column?: number | string; record?: CsvRow | string[] }
  const place = details.lines === undefined ? path : `${path}:${details.lines}`
  if (error.code === 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH') {
    const cells = Array.isArray(details.record) ? details.record.length : undefined
    return formatError(
      `${place}: expected as many cells as in the first line${cells === undefined ? '' : `, got ${cells}`}: ${error.message}`,
      { cause: error },
    )
  }
  return formatError(`${place}: not a valid CSV file: ${error.message}`, { cause: error })
}

/** Reads cells by the columns' types and says where one does not fit. */
export class CellReader {
  readonly #missing: ReadonlySet<string>
  readonly #numericMissing: boolean

  constructor(
    private readonly path: string,
    readonly names: readonly string[],
    options: CsvOptions,
  ) {
    this.#missing = new Set(options.missing ?? DEFAULT_MISSING)
    this.#numericMissing = [...this.#missing].some(text => NUMBER.test(text))
    for (const [name, type] of Object.entries(options.types ?? {})) {
      this.position(name)
      if (type !== 'number' && type !== 'string') {
        throw new AnnealError(
          'ERR_VALUE',
          `${path}: expected type 'number' or 'string' for column ${name}, got ${type}`,
        )
      }
    }
  }

  /** Where the column stands; throws `ERR_VALUE` naming those there are. */
  position(name: string): number {
    const at = this.names.indexOf(name)
    if (at >= 0) return at
    throw new AnnealError(
      'ERR_VALUE',
      `${this.path}: there is no column ${JSON.stringify(name)}; the columns are ${this.names.join(', ')}`,
    )
  }

  isMissing(cell: string): boolean {
    return this.#missing.has(cell.trim())
  }

  /** The number in a cell, NaN where it is missing, undefined where it is something else. */
  tryNumber(cell: string): number | undefined {
    const quick = Number(cell)
    // Nearly every cell: zero stands for blanks too, and JavaScript's prefixes are no numbers in a table.
    if (quick && !this.#numericMissing && !PREFIX.test(cell)) return quick
    const text = cell.trim()
    if (this.#missing.has(text)) return Number.NaN
    if (!NUMBER.test(text)) return undefined
    const value = Number(text)
    return Number.isNaN(value) ? (text.startsWith('-') ? -Infinity : Infinity) : value
  }

  number(row: CsvRow, column: number): number {
    const value = this.tryNumber(row.cells[column]!)
    if (value !== undefined) return value
    throw this.unexpected(
      row,
      column,
      'a number',
      `if it is text, set types: { ${JSON.stringify(this.names[column])}: 'string' }`,
    )
  }

  text(row: CsvRow, column: number): string | null {
    const cell = row.cells[column]!
    return this.isMissing(cell) ? null : cell
  }

  unexpected(row: CsvRow, column: number, expected: string, hint: string): AnnealError {
    const found = JSON.stringify(row.cells[column]!.slice(0, 60))
    return formatError(
      `${this.path}:${row.line}: column ${this.names[column]}: expected ${expected}, got ${found}; ${hint}`,
    )
  }
}
