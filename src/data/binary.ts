import { statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { itemSize } from '../dtype'
import { AnnealError } from '../errors'
import { asIoError } from '../io/files'
import { sizeOf } from '../shape'
import { rowOf } from './collate'
import { formatError } from './files'
import { IndexedDataset } from './indexed'
import { type ArrayDType, allocate, isArrayDType, type NdArray, type TypedArray } from './ndarray'
import { checkCount } from './order'
import type { Reader, Source } from './source'

/** Values of one dtype and shape; shape [] is a single value. */
export interface BinaryField {
  readonly dtype: ArrayDType
  readonly shape?: readonly number[]
}

export interface BinaryOptions {
  /** Bytes before the first record; default 0. */
  readonly offset?: number
}

/** What a record holds of a field: a number for a single float32, a typed array for one axis, else `{ data, shape }`. */
export type BinaryValue = number | TypedArray | NdArray

/**
 * A dataset over a file of any size that holds records of one size, one after another without gaps, in little-endian
 * order: every record is one field, or the fields of a record in the order given. A pass reads only what it gives, by
 * position, neighbours together; so shuffles and shards of files larger than memory cost what they read. The file is
 * open while a pass is under way.
 *
 * @throws AnnealError `ERR_IO`; `ERR_FORMAT` where the file is empty or its size is no multiple of the record's
 */
export function fromBinary(path: string, field: BinaryField, options?: BinaryOptions): IndexedDataset<BinaryValue>
export function fromBinary<F extends Readonly<Record<string, BinaryField>>>(
  path: string,
  fields: { fields: F },
  options?: BinaryOptions,
): IndexedDataset<{ -readonly [K in keyof F]: BinaryValue }>
export function fromBinary(
  path: string,
  layout: BinaryField | { fields: Readonly<Record<string, BinaryField>> },
  { offset = 0 }: BinaryOptions = {},
): unknown {
  checkCount(offset, 0, 'fromBinary: offset')
  const fields = 'fields' in layout ? Object.entries(layout.fields) : [['', layout] as const]
  const parts = fields.map(([name, field]) => checkField(name, field))
  return new IndexedDataset(new BinarySource(path, parts, offset, !('fields' in layout)))
}

interface Part {
  readonly name: string
  readonly dtype: ArrayDType
  readonly shape: readonly number[]
  readonly bytes: number
}

function checkField(name: string, { dtype, shape = [] }: BinaryField): Part {
  if (!isArrayDType(dtype))
    throw new AnnealError('ERR_DTYPE', `fromBinary: ${name}: no host type for dtype ${String(dtype)}`)
  if (!shape.every(d => Number.isSafeInteger(d) && d > 0)) {
    throw new AnnealError('ERR_SHAPE', `fromBinary: ${name}: expected a shape of positive integers, got [${shape}]`)
  }
  return { name, dtype, shape, bytes: itemSize(dtype) * sizeOf(shape) }
}

class BinarySource implements Source<unknown> {
  readonly length: number
  readonly recordBytes: number

  constructor(
    readonly path: string,
    readonly parts: readonly Part[],
    readonly offset: number,
    readonly single: boolean,
  ) {
    this.recordBytes = parts.reduce((sum, part) => sum + part.bytes, 0)
    if (this.recordBytes === 0) throw new AnnealError('ERR_VALUE', 'fromBinary: expected at least one field, got none')
    const bytes = fileSize(path) - offset
    this.length = bytes / this.recordBytes
    if (bytes > 0 && Number.isInteger(this.length)) return
    throw formatError(
      `${path}: expected a whole number of records of ${this.recordBytes} bytes, at least one, after ${offset} bytes, got ${bytes} bytes; check dtype, shape and offset`,
    )
  }

  async open(): Promise<BinaryReader> {
    try {
      return new BinaryReader(this, await open(this.path, 'r'))
    } catch (error) {
      throw asIoError('read', this.path, error)
    }
  }

  async at(index: number): Promise<unknown> {
    const reader = await this.open()
    try {
      return (await reader.read([index]))[0]
    } finally {
      await reader.close()
    }
  }
}

class BinaryReader implements Reader<unknown> {
  constructor(
    private readonly source: BinarySource,
    private readonly file: FileHandle,
  ) {}

  async read(indices: readonly number[]): Promise<unknown[]> {
    const columns = await this.#columns(indices)
    const { parts, single } = this.source
    return indices.map((_, i) => {
      if (single) return rowOf(columns[0]!, i)
      return Object.fromEntries(parts.map((part, k) => [part.name, rowOf(columns[k]!, i)]))
    })
  }

  async gather(indices: readonly number[]): Promise<unknown> {
    const columns = await this.#columns(indices)
    const { parts, single } = this.source
    return single ? columns[0] : Object.fromEntries(parts.map((part, k) => [part.name, columns[k]!]))
  }

  close(): Promise<void> {
    return this.file.close()
  }

  async #columns(indices: readonly number[]): Promise<NdArray[]> {
    const { parts, recordBytes } = this.source
    const records = await this.#records(indices)
    let start = 0
    return parts.map(({ dtype, shape, bytes }) => {
      const data = allocate(dtype, sizeOf(shape) * indices.length)
      const out = new Uint8Array(data.buffer)
      for (let i = 0; i < indices.length; i++) {
        const from = i * recordBytes + start
        out.set(records.subarray(from, from + bytes), i * bytes)
      }
      start += bytes
      return { data, shape: [indices.length, ...shape], dtype }
    })
  }

  /** The records one after another; each run of neighbours is one read. */
  async #records(indices: readonly number[]): Promise<Uint8Array> {
    const { path, offset, recordBytes } = this.source
    const out = new Uint8Array(indices.length * recordBytes)
    const reads: Promise<void>[] = []
    for (let i = 0; i < indices.length; ) {
      let end = i + 1
      while (end < indices.length && indices[end] === indices[end - 1]! + 1) end++
      const piece = out.subarray(i * recordBytes, end * recordBytes)
      reads.push(readFully(this.file, piece, offset + indices[i]! * recordBytes, path))
      i = end
    }
    // All are awaited even if one fails: the file may only be closed when none is under way.
    const failed = (await Promise.allSettled(reads)).find(result => result.status === 'rejected')
    if (failed) throw asIoError('read', path, failed.reason)
    return out
  }
}

async function readFully(file: FileHandle, out: Uint8Array, position: number, path: string): Promise<void> {
  for (let done = 0; done < out.length; ) {
    const { bytesRead } = await file.read(out, done, out.length - done, position + done)
    if (bytesRead === 0)
      throw formatError(`${path}: ends at byte ${position + done}: it became shorter while it was read`)
    done += bytesRead
  }
}

function fileSize(path: string): number {
  try {
    return statSync(path).size
  } catch (error) {
    throw asIoError('read', path, error)
  }
}
