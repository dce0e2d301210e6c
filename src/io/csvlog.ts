import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parse } from 'csv-parse/sync'
import { AnnealError } from '../errors'
import { asIoError } from './files'

/** A cell of a log. */
export type Cell = number | string | boolean | null | undefined

/**
 * A CSV file (RFC 4180) that grows by one row per call. Each row is flushed to the disk before the call resolves, so
 * that a kill loses at most the last line; an incomplete last line is removed when the file is opened again.
 */
export class CsvLog {
  #last: Promise<void> = Promise.resolve()

  private constructor(
    private readonly file: FileHandle,
    private readonly path: string,
    private columns: readonly string[] | undefined,
  ) {}

  /**
   * Opens `path` to be written anew, or, with `append`, to go on after the rows that it has. Without `columns` the keys
   * of the first row become the columns. Throws ERR_FORMAT when an existing file has other columns, and ERR_IO.
   */
  static async open(path: string, options: { columns?: readonly string[]; append?: boolean } = {}): Promise<CsvLog> {
    let file: FileHandle | undefined
    try {
      await mkdir(dirname(path), { recursive: true })
      file = await open(path, options.append ? 'a+' : 'w+')
      const header = await repair(file)
      const wanted = options.columns?.map(quote).join(',')
      if (header !== undefined && wanted !== undefined && header !== wanted) {
        throw new AnnealError('ERR_FORMAT', `csv log: ${path}: expected the columns ${wanted}, got ${header}`)
      }
      const log = new CsvLog(
        file,
        path,
        options.columns ?? (header === undefined ? undefined : (parse(header)[0] as string[])),
      )
      if (header === undefined && wanted !== undefined) await log.#append(`${wanted}\n`)
      return log
    } catch (error) {
      await file?.close()
      throw asIoError('write', path, error)
    }
  }

  /** Appends a row; columns that it lacks stay empty. Throws ERR_VALUE for a column that the file does not have. */
  async row(values: Readonly<Record<string, Cell>>): Promise<void> {
    const keys = Object.keys(values)
    const first = this.columns === undefined
    const columns = this.columns ?? keys
    this.columns = columns
    const unknown = keys.find(key => !columns.includes(key))
    if (unknown !== undefined) {
      throw new AnnealError('ERR_VALUE', `csv log: ${this.path}: expected the columns ${columns}, got ${unknown}`)
    }
    const line = `${columns.map(column => quote(values[column])).join(',')}\n`
    await this.#append(first ? `${columns.map(quote).join(',')}\n${line}` : line)
  }

  /** Resolves when all is written and the file is closed. */
  async close(): Promise<void> {
    await this.#last
    await this.file.close()
  }

  #append(text: string): Promise<void> {
    const turn = this.#last
      .then(() => this.#write(text))
      .catch(error => {
        throw asIoError('write', this.path, error)
      })
    this.#last = turn.catch(() => {})
    return turn
  }

  async #write(text: string): Promise<void> {
    await this.file.appendFile(text)
    await this.file.datasync()
  }
}

/** Cuts off an incomplete last line, and returns the header, or undefined where the file has none. */
async function repair(file: FileHandle): Promise<string | undefined> {
  const text = await file.readFile('utf8')
  const end = text.lastIndexOf('\n') + 1
  if (end < text.length) await file.truncate(Buffer.byteLength(text.slice(0, end)))
  return end > 0 ? text.slice(0, text.indexOf('\n')) : undefined
}

// A row is one line, whatever its cells hold: so an incomplete row is known by its missing line end.
function quote(cell: Cell): string {
  const text = String(cell ?? '').replace(/[\r\n]+/g, ' ')
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
