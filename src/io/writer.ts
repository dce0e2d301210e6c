import type { DType } from '../dtype'
import { AnnealError } from '../errors'
import { layoutRank, toSafetensors } from './dtypes'
import { type Digest, type FileSink, writeAtomically } from './files'
import { byteLength, isWellFormed, maxHeaderBytes } from './header'

/** A tensor's content as it goes to a file: row-major, contiguous, little-endian; bool as bytes 0 and 1. */
export interface ByteSource {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** All the bytes in order, at once or in pieces. Called once. */
  bytes(): Promise<Uint8Array> | AsyncIterable<Uint8Array>
}

/**
 * Writes a safetensors file atomically. The data is streamed source by source, so that the file may be larger than
 * memory. Throws ERR_VALUE for names, metadata or sources that the format cannot hold, and ERR_IO.
 */
export function writeSafetensors(
  path: string,
  sources: Readonly<Record<string, ByteSource>>,
  metadata: Readonly<Record<string, string>> = {},
  options: { hash?: boolean } = {},
): Promise<Digest> {
  const entries = Object.entries(sources).sort(byLayout)
  const header = encodeHeader(path, entries, metadata)
  return writeAtomically(
    path,
    async sink => {
      await sink.write(header)
      for (const [name, source] of entries) await writeSource(path, sink, name, source)
    },
    options,
  )
}

// By dtype, then by name, as the reference implementation has it, so that the same tensors give the same file.
function byLayout([nameA, a]: [string, ByteSource], [nameB, b]: [string, ByteSource]): number {
  return layoutRank(a.dtype) - layoutRank(b.dtype) || (nameA < nameB ? -1 : 1)
}

function encodeHeader(path: string, entries: [string, ByteSource][], metadata: Readonly<Record<string, string>>) {
  const header = new Map<string, unknown>()
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string' || !isWellFormed(key + value)) {
      throw refused(
        path,
        `metadata ${JSON.stringify(key)}: expected a string in well-formed Unicode, got ${typeof value}`,
      )
    }
  }
  if (Object.keys(metadata).length > 0) header.set('__metadata__', metadata)
  let begin = 0
  for (const [name, { dtype, shape }] of entries) {
    const size = checkedSize(path, name, dtype, shape)
    header.set(name, { dtype: toSafetensors(dtype), shape, data_offsets: [begin, begin + size] })
    begin += size
  }
  return frame(path, JSON.stringify(Object.fromEntries(header)))
}

/** Length prefix and text, padded with spaces so that the data begins at a multiple of eight. */
function frame(path: string, json: string): Uint8Array {
  const text = Buffer.from(json)
  const length = Math.ceil(text.length / 8) * 8
  if (length > maxHeaderBytes) {
    throw refused(
      path,
      `expected a header of at most ${maxHeaderBytes} bytes, got ${length}: use fewer or shorter names`,
    )
  }
  const header = Buffer.alloc(8 + length, ' ')
  header.writeBigUInt64LE(BigInt(length))
  text.copy(header, 8)
  return header
}

function checkedSize(path: string, name: string, dtype: DType, shape: readonly number[]): number {
  if (name === '__metadata__' || !isWellFormed(name)) {
    throw refused(
      path,
      `expected tensor names in well-formed Unicode other than __metadata__, got ${JSON.stringify(name)}`,
    )
  }
  const size = toSafetensors(dtype) && byteLength(shape, dtype)
  if (size === undefined) throw refused(path, `tensor ${JSON.stringify(name)}: cannot be stored as ${dtype} [${shape}]`)
  return size as number
}

async function writeSource(path: string, sink: FileSink, name: string, source: ByteSource): Promise<void> {
  const begin = sink.bytes
  const content = source.bytes()
  if (Symbol.asyncIterator in content) {
    for await (const piece of content) await sink.write(piece)
  } else {
    await sink.write(await content)
  }
  const expected = byteLength(source.shape, source.dtype)
  const came = sink.bytes - begin
  if (came !== expected) throw refused(path, `tensor ${JSON.stringify(name)}: expected ${expected} bytes, got ${came}`)
}

function refused(path: string, message: string): AnnealError {
  return new AnnealError('ERR_VALUE', `safetensors: ${path}: ${message}`)
}
