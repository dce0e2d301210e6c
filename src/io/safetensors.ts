import { stat } from 'node:fs/promises'
import { AnnealError } from '../errors'
import { keep } from '../lifetime'
import { checked, native } from '../native'
import { shown } from '../nn/check'
import { Tensor } from '../tensor'
import { asIoError, readFully, withFile } from './files'
import { readSafetensorsHeader, type TensorInfo } from './header'
import { mapTensors } from './mapped'
import { type ByteSource, writeSafetensors } from './writer'

/**
 * The tensors of a safetensors file by name, mapped into memory, so that files larger than memory open at once. The
 * whole header is checked first (see {@link readSafetensorsHeader}). Replacing the file later is harmless; a program that
 * cuts it short in place takes the data away under the tensors, which ends the process (as with any mapped file).
 *
 * Throws ERR_FORMAT for a broken file, ERR_IO.
 */
export async function loadSafetensors(path: string): Promise<Record<string, Tensor>> {
  const before = await identity(path)
  const { tensors } = await readSafetensorsHeader(path)
  await checkBooleans(path, tensors)
  const mapped = mapTensors(path, tensors)
  if ((await identity(path)) === before) return mapped
  for (const tensor of Object.values(mapped)) tensor.dispose()
  throw new AnnealError('ERR_FORMAT', `safetensors: ${path}: the file changed while it was opened; open it again`)
}

/**
 * Writes tensors to a safetensors file, atomically: another reader, or a crash at any moment, finds the old file or the
 * whole new one. The values are those at the time of the call. `metadata` is free text by name.
 *
 * Throws ERR_VALUE for names or metadata that the format cannot hold, ERR_IO.
 */
export async function saveSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await withSources(tensors, sources => writeSafetensors(path, sources, metadata))
}

/** Runs `use` with the present bytes of `tensors`, which later updates do not change. */
export async function withSources<T>(
  tensors: Readonly<Record<string, Tensor>>,
  use: (sources: Record<string, ByteSource>) => Promise<T>,
): Promise<T> {
  for (const [name, tensor] of Object.entries(tensors)) {
    if (tensor instanceof Tensor) continue
    const where = `safetensors: tensor ${JSON.stringify(name)}`
    throw new AnnealError('ERR_VALUE', `${where}: expected a tensor, got ${shown(tensor)}`)
  }
  const entries = Object.entries(tensors).map(([name, tensor]) => [name, keep(tensor.detach())] as const)
  try {
    return await use(Object.fromEntries(entries.map(([name, tensor]) => [name, sourceOf(tensor)])))
  } finally {
    for (const [, tensor] of entries) tensor.dispose()
  }
}

function sourceOf(tensor: Tensor): ByteSource {
  const { dtype, shape } = tensor
  return { dtype, shape, bytes: () => (tensor.size > pieceElements ? pieces(tensor) : tensor.bytes()) }
}

// Small enough that making room for a piece does not hold the event loop, and that any tensor can be written.
const pieceElements = 1 << 20

async function* pieces(tensor: Tensor): AsyncIterable<Uint8Array> {
  const whole = keep(tensor.contiguous())
  try {
    for (let begin = 0; begin < whole.size; begin += pieceElements) {
      const count = Math.min(pieceElements, whole.size - begin)
      const piece = keep(new Tensor(checked(native.elements(whole.handle, begin, count))))
      yield await piece.bytes()
      piece.dispose()
    }
  } finally {
    whole.dispose()
  }
}

/** What tells one state of a file from another. */
async function identity(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true })
    return `${dev} ${ino} ${size} ${mtimeNs}`
  } catch (error) {
    throw asIoError('read', path, error)
  }
}

// A C++ bool is 0 or 1; any other byte is undefined behaviour there, so a file's are looked at before they are mapped.
async function checkBooleans(path: string, tensors: readonly TensorInfo[]): Promise<void> {
  const booleans = tensors.filter(tensor => tensor.dtype === 'bool')
  if (booleans.length === 0) return
  await withFile(path, async handle => {
    for (const { name, begin, end } of booleans) {
      for (let at = begin; at < end; at += 1 << 20) {
        const bytes = new Uint8Array(Math.min(end - at, 1 << 20))
        await readFully(handle, bytes, at)
        const wrong = bytes.find(byte => byte > 1)
        if (wrong === undefined) continue
        const where = `safetensors: ${path}: tensor ${JSON.stringify(name)}`
        throw new AnnealError('ERR_FORMAT', `${where}: expected bool bytes of 0 and 1, got ${wrong}`)
      }
    }
  })
}
