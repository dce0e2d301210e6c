import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { AnnealError } from '../errors'
import { asIoError, type Digest, digestFile, listFolder, syncFolder, writeAtomically } from './files'

/*
 * A folder that always holds one complete set of files:
 *
 *   current.json               names the set in force, with the digest of its manifest; replaced by one rename
 *   checkpoint-<16 hex>/       a set: its files, and manifest.json with the digest of each
 *
 * A set is written and flushed before current.json names it, and older sets go only afterwards. Whatever current.json
 * does not name is therefore the remains of a killed save, and the next save removes it.
 */

/** Writes one file of a set to `path` and flushes it to the disk. */
export type FileWriter = (path: string) => Promise<Digest>

interface Pointer {
  folder: string
  manifest: Digest
}

const pointerName = 'current.json'
const manifestName = 'manifest.json'
const format = 'anneal-checkpoint'
const version = 1
const setPattern = /^checkpoint-[0-9a-f]{16}$/
const ownPattern = /^(checkpoint-[0-9a-f]{16}|\.current\.json\.tmp-\d+-[0-9a-f]+)$/

const saving = new Map<string, Promise<void>>()

/**
 * Replaces the set of files in `folder` by a new one, atomically: a crash at any moment leaves the old set or the new.
 * Saves to the same folder wait for each other within a process; only one process may save to a folder at a time.
 */
export function commitFiles(folder: string, files: Readonly<Record<string, FileWriter>>): Promise<void> {
  const key = resolve(folder)
  const turn = (saving.get(key) ?? Promise.resolve()).then(() => commit(key, files))
  const settled: Promise<void> = turn
    .catch(() => {})
    .then(() => {
      if (saving.get(key) === settled) saving.delete(key)
    })
  saving.set(key, settled)
  return turn
}

async function commit(folder: string, files: Readonly<Record<string, FileWriter>>): Promise<void> {
  const set = `checkpoint-${randomBytes(8).toString('hex')}`
  try {
    await mkdir(folder, { recursive: true })
    await removeRemains(folder)
    const manifest = await writeSet(join(folder, set), files)
    await syncFolder(folder)
    await writeJson(join(folder, pointerName), { format, version, folder: set, manifest })
  } catch (error) {
    throw asIoError('save checkpoint', folder, error)
  }
  await removeAllBut(folder, set).catch(() => {}) // the save has succeeded; the next one tries again
}

async function writeSet(path: string, files: Readonly<Record<string, FileWriter>>): Promise<Digest> {
  await mkdir(path)
  try {
    const digests: Record<string, Digest> = {}
    for (const [name, write] of Object.entries(files)) digests[name] = await write(join(path, name))
    return await writeJson(join(path, manifestName), { format, version, files: digests })
  } catch (error) {
    await rm(path, { recursive: true, force: true })
    throw error
  }
}

/** Removes what killed saves left; nothing where current.json exists but cannot be read, since a set may be good. */
async function removeRemains(folder: string): Promise<void> {
  const set = await currentSet(folder)
  const unreadable = set === undefined && (await listFolder(folder)).some(path => basename(path) === pointerName)
  if (!unreadable) await removeAllBut(folder, set)
}

function writeJson(path: string, value: unknown): Promise<Digest> {
  const text = Buffer.from(`${JSON.stringify(value, null, 1)}\n`)
  return writeAtomically(path, sink => sink.write(text), { hash: true })
}

async function removeAllBut(folder: string, set: string | undefined): Promise<void> {
  for (const path of await listFolder(folder)) {
    const name = basename(path)
    if (ownPattern.test(name) && name !== set) await rm(path, { recursive: true, force: true })
  }
}

/** Whether a set was ever completed in `folder`; a save that was killed before the first leaves a folder without one. */
export function hasSet(folder: string): boolean {
  return existsSync(join(folder, pointerName))
}

/** The set in force; undefined where there is none or current.json cannot be read. */
async function currentSet(folder: string): Promise<string | undefined> {
  try {
    return (await readPointer(folder)).folder
  } catch {
    return undefined
  }
}

/**
 * Checks every file of the set in `folder` against its digest, then hands the set's folder and the names of its files
 * to `use`. When another process replaces the set meanwhile, the new one is used.
 *
 * Throws ERR_FORMAT for a corrupted set, naming the file and both checksums; ERR_IO where there is no checkpoint.
 */
export async function useFiles<T>(folder: string, use: (set: string, names: Set<string>) => Promise<T>): Promise<T> {
  for (;;) {
    const pointer = await readPointer(folder)
    try {
      const set = join(folder, pointer.folder)
      return await use(set, await checkSet(set, pointer.manifest))
    } catch (error) {
      if ((await currentSet(folder)) === pointer.folder) throw error
    }
  }
}

async function readPointer(folder: string): Promise<Pointer> {
  const path = join(folder, pointerName)
  const { folder: set, manifest } = await readJson(path).catch((error: Error) => {
    if ((error.cause as NodeJS.ErrnoException | undefined)?.code !== 'ENOENT') throw error
    throw new AnnealError(
      'ERR_IO',
      `load ${folder}: this folder holds no checkpoint and no saved model; give the one that was saved to`,
      { cause: error.cause },
    )
  })
  if (typeof set !== 'string' || !setPattern.test(set)) throw corrupt(path, 'the name of a checkpoint folder', set)
  return { folder: set, manifest: checkedDigest(path, manifest) }
}

async function checkSet(set: string, manifest: Digest): Promise<Set<string>> {
  const path = join(set, manifestName)
  await checkFile(path, manifest)
  const { files } = await readJson(path)
  const names = Object.keys(files ?? {})
  for (const name of names) {
    if (basename(name) !== name || name.startsWith('.')) throw corrupt(path, 'plain file names', name)
    await checkFile(join(set, name), checkedDigest(path, (files as Record<string, unknown>)[name]))
  }
  return new Set(names)
}

async function checkFile(path: string, expected: Digest): Promise<void> {
  const { bytes, sha256 } = await digestFile(path)
  if (bytes !== expected.bytes || sha256 !== expected.sha256) {
    throw new AnnealError(
      'ERR_FORMAT',
      `checkpoint: ${path}: corrupted: expected ${expected.bytes} bytes with SHA-256 ${expected.sha256}, ` +
        `got ${bytes} bytes with SHA-256 ${sha256}; load another checkpoint`,
    )
  }
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  let value: Record<string, unknown>
  try {
    value = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) throw corrupt(path, 'JSON', error.message)
    throw asIoError('load checkpoint', path, error)
  }
  if (value?.format !== format || value.version !== version) {
    throw corrupt(path, `format ${format} version ${version}`, `${value?.format} ${value?.version}`)
  }
  return value
}

function checkedDigest(path: string, value: unknown): Digest {
  const { bytes, sha256 } = (value ?? {}) as Partial<Digest>
  if (!Number.isSafeInteger(bytes) || typeof sha256 !== 'string')
    throw corrupt(path, 'bytes and sha256 of a file', value)
  return { bytes: bytes as number, sha256 }
}

function corrupt(path: string, expected: string, came: unknown): AnnealError {
  const shown = typeof came === 'string' ? came : JSON.stringify(came)
  return new AnnealError('ERR_FORMAT', `checkpoint: ${path}: expected ${expected}, got ${shown?.slice(0, 200)}`)
}
