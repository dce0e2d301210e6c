import { createHash, type Hash, randomBytes } from 'node:crypto'
import { constants, type FileHandle, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { AnnealError } from '../errors'

/** Length and SHA-256 (hexadecimal) of a file's content. */
export interface Digest {
  bytes: number
  sha256: string
}

// One megabyte is written or hashed in about a millisecond, so the event loop is never held longer.
const chunkBytes = 1 << 20

/** Where a file's content is streamed to; counts and hashes what passes. */
export class FileSink {
  #bytes = 0
  readonly #hash: Hash | undefined

  constructor(
    private readonly handle: FileHandle,
    hashed: boolean,
  ) {
    this.#hash = hashed ? createHash('sha256') : undefined
  }

  get bytes(): number {
    return this.#bytes
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let begin = 0; begin < bytes.byteLength; ) {
      const chunk = bytes.subarray(begin, begin + chunkBytes)
      const { bytesWritten } = await this.handle.write(chunk, 0, chunk.byteLength)
      this.#hash?.update(chunk.subarray(0, bytesWritten))
      begin += bytesWritten
      this.#bytes += bytesWritten
    }
  }

  /** What was written; `sha256` is empty where the sink does not hash. */
  digest(): Digest {
    return { bytes: this.#bytes, sha256: this.#hash?.digest('hex') ?? '' }
  }
}

/**
 * Writes `path` so that a crash at any moment leaves either the old file or the whole new one: into a temporary file in
 * the same folder, flushed to the disk, then renamed. When `write` throws, the temporary file is removed.
 */
export async function writeAtomically(
  path: string,
  write: (sink: FileSink) => Promise<void>,
  options: { hash?: boolean } = {},
): Promise<Digest> {
  const temporary = join(dirname(path), `.${basename(path)}.tmp-${process.pid}-${randomBytes(6).toString('hex')}`)
  try {
    const handle = await open(temporary, 'wx')
    let digest: Digest
    try {
      const sink = new FileSink(handle, options.hash ?? false)
      await write(sink)
      await handle.sync()
      digest = sink.digest()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
    await syncFolder(dirname(path))
    return digest
  } catch (error) {
    await rm(temporary, { force: true })
    throw asIoError('write', path, error)
  }
}

/** Makes renames and new entries in `folder` survive a power loss. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return // folders cannot be opened there
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Length and SHA-256 of the file at `path`, read in small pieces. */
export async function digestFile(path: string): Promise<Digest> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(chunkBytes)
  return withFile(path, async handle => {
    let bytes = 0
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length)
      if (bytesRead === 0) return { bytes, sha256: hash.digest('hex') }
      hash.update(buffer.subarray(0, bytesRead))
      bytes += bytesRead
    }
  })
}

/** Runs `use` with the regular file at `path` opened for reading; system errors become ERR_IO. */
export async function withFile<T>(path: string, use: (handle: FileHandle, size: number) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)) // a named pipe must not hang here
    const stat = await handle.stat()
    if (!stat.isFile()) throw new AnnealError('ERR_IO', `read ${path}: expected a file, got a folder or device`)
    return await use(handle, stat.size)
  } catch (error) {
    throw asIoError('read', path, error)
  } finally {
    await handle?.close()
  }
}

/** Fills `buffer` from `position` of the file, and returns how many bytes there were. */
export async function readFully(handle: FileHandle, buffer: Uint8Array, position: number): Promise<number> {
  let filled = 0
  while (filled < buffer.byteLength) {
    const { bytesRead } = await handle.read(buffer, filled, buffer.byteLength - filled, position + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}

const advices: Readonly<Record<string, string>> = {
  ENOENT: '; check the path',
  EISDIR: '; this is a folder: give the path of a file',
}

/** System errors as ERR_IO that names the path; anything else as it is. */
export function asIoError(action: string, path: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  if (error instanceof AnnealError || !(error instanceof Error) || typeof code !== 'string') return error
  return new AnnealError('ERR_IO', `${action} ${path}: ${error.message}${advices[code] ?? ''}`, { cause: error })
}

/** The entries of `folder` as absolute paths; none where it does not exist. */
export async function listFolder(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).map(name => resolve(folder, name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw asIoError('read', folder, error)
  }
}
