import { type DType, itemSize } from '../dtype'
import { AnnealError } from '../errors'
import { isObject } from '../objects'
import { fromSafetensors, supportedNames } from './dtypes'
import { readFully, withFile } from './files'
import { duplicateKey } from './json'

/** One tensor in a safetensors file: `begin` and `end` are byte positions in the file. */
export interface TensorInfo {
  name: string
  dtype: DType
  shape: number[]
  begin: number
  end: number
}

/** What the head of a safetensors file says. */
export interface SafetensorsHeader {
  metadata: Record<string, string>
  /** In the order of their data. */
  tensors: TensorInfo[]
}

/** The format's own bound on the header; larger ones are refused by every reader. */
export const maxHeaderBytes = 100_000_000

/** The most axes that a tensor has. */
const mostAxes = 8

/**
 * Reads and checks the header of a safetensors file (https://github.com/huggingface/safetensors, "Format"), and nothing
 * more: no tensor data is read.
 *
 * Throws ERR_FORMAT for anything that departs from the format, naming file, tensor, what was expected and what came:
 * a truncated or oversized header, duplicate names, unknown dtypes, sizes that do not fit, overlaps, holes. ERR_IO when
 * the file cannot be read.
 */
export function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  return withFile(path, async (handle, size) => {
    const prefix = new Uint8Array(8)
    if ((await readFully(handle, prefix, 0)) < 8)
      throw broken(path, 'at least 8 bytes of header length', `${size} bytes`)
    const length = headerLength(path, prefix, size)
    const text = new Uint8Array(length)
    const got = await readFully(handle, text, 8)
    if (got < length) throw broken(path, `a header of ${length} bytes`, `${got} bytes`)
    return parseHeader(path, text, size)
  })
}

/** The header's length from the file's first eight bytes, checked against the file's size. */
export function headerLength(file: string, prefix: Uint8Array, fileSize: number): number {
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true)
  const limit = Math.min(maxHeaderBytes, fileSize - 8)
  if (length > BigInt(limit)) {
    throw broken(file, `a header of at most ${limit} bytes (file: ${fileSize} bytes)`, `header length ${length}`)
  }
  return Number(length)
}

/** Checks a header's text; `fileSize` is that of the whole file. */
export function parseHeader(file: string, text: Uint8Array, fileSize: number): SafetensorsHeader {
  const { __metadata__, ...entries } = parseObject(file, text)
  const dataStart = 8 + text.byteLength
  const tensors = Object.entries(entries).map(([name, entry]) => parseEntry(file, name, entry, dataStart, fileSize))
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end)
  checkCoverage(file, tensors, dataStart, fileSize)
  return { metadata: parseMetadata(file, __metadata__), tensors }
}

function parseObject(file: string, bytes: Uint8Array): Record<string, unknown> {
  if (bytes[0] !== 0x7b) throw broken(file, 'a header that starts with "{"', bytes.length ? `byte ${bytes[0]}` : 'none')
  let text: string
  let header: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw broken(file, 'a header in UTF-8', 'invalid bytes')
  }
  try {
    header = JSON.parse(text)
  } catch (error) {
    throw broken(file, 'a header in JSON', brief((error as Error).message))
  }
  const twice = duplicateKey(text)
  if (twice !== undefined) throw broken(file, 'every name once', `${quote(twice)} twice`)
  return header as Record<string, unknown>
}

function parseMetadata(file: string, metadata: unknown): Record<string, string> {
  if (metadata === undefined) return {}
  if (!isObject(metadata)) throw broken(file, '__metadata__ as an object of strings', show(metadata))
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') throw broken(file, `__metadata__ ${quote(key)} as a string`, show(value))
  }
  return metadata as Record<string, string>
}

function parseEntry(file: string, name: string, entry: unknown, dataStart: number, fileSize: number): TensorInfo {
  const fail = (expected: string, came: unknown) => broken(file, expected, show(came), name)
  if (!isWellFormed(name)) throw fail('a name in well-formed Unicode', name)
  if (!isObject(entry)) throw fail('an object with dtype, shape and data_offsets', entry)
  const { dtype: code, shape, data_offsets: offsets } = entry
  const dtype = typeof code === 'string' ? fromSafetensors(code) : undefined
  if (!dtype) throw fail(`a dtype among ${supportedNames}`, code)
  if (!Array.isArray(shape) || !shape.every(isCount)) throw fail('a shape of non-negative integers', shape)
  if (shape.length > mostAxes) throw fail(`a shape of at most ${mostAxes} axes`, shape)
  const bytes = byteLength(shape, dtype)
  if (bytes === undefined) throw fail('a shape whose size in bytes is below 2^53', shape)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail('data_offsets of two non-negative integers', offsets)
  }
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > fileSize - dataStart) {
    throw fail(`data_offsets within the ${fileSize - dataStart} bytes of data`, offsets)
  }
  if (end - begin !== bytes) throw fail(`${bytes} bytes for ${code} ${show(shape)}`, end - begin)
  return { name, dtype, shape, begin: dataStart + begin, end: dataStart + end }
}

/** Every byte of the data belongs to exactly one tensor. `tensors` are in the order of their data. */
function checkCoverage(file: string, tensors: TensorInfo[], dataStart: number, fileSize: number): void {
  let covered = dataStart
  for (const { name, begin, end } of tensors) {
    if (begin < covered)
      throw broken(file, `data from ${covered - dataStart} on`, `${begin - dataStart}: an overlap`, name)
    if (begin > covered) throw broken(file, `data from ${covered - dataStart} on`, `${begin - dataStart}: a hole`, name)
    covered = end
  }
  if (covered !== fileSize) {
    throw broken(file, `${covered - dataStart} bytes of data, as its tensors have`, `${fileSize - dataStart} bytes`)
  }
}

/** Bytes of a dense tensor, or undefined where the number cannot be held exactly. */
export function byteLength(shape: readonly number[], dtype: DType): number | undefined {
  let bytes = itemSize(dtype)
  for (const size of shape) {
    bytes *= size
    if (!Number.isSafeInteger(bytes)) return undefined
  }
  return bytes
}

/** Whether `text` holds no half of a surrogate pair, which UTF-8 cannot carry. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0)
}

function broken(file: string, expected: string, came: string, tensor?: string): AnnealError {
  const where = tensor === undefined ? file : `${file}: tensor ${quote(tensor)}`
  return new AnnealError('ERR_FORMAT', `safetensors: ${where}: expected ${expected}, got ${came}`)
}

// A hostile header may hold megabytes in one name: messages stay short.
function brief(text: string): string {
  return text.length > 120 ? `${text.slice(0, 117)}...` : text
}

function quote(text: string): string {
  return brief(JSON.stringify(text.slice(0, 200)))
}

function show(value: unknown): string {
  if (!Array.isArray(value)) return showItem(value)
  return brief(`[${value.slice(0, 40).map(showItem).join(',')}]`)
}

function showItem(value: unknown): string {
  if (value === undefined) return 'none'
  if (typeof value === 'string') return quote(value)
  return Array.isArray(value) ? 'an array' : isObject(value) ? 'an object' : String(value)
}
