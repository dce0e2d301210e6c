import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { writeAtomically } from '../../src/io/files'
import { readSafetensorsHeader } from '../../src/io/header'
import { decodePlain, encodePlain, type Plain } from '../../src/io/json'
import { type CheckpointSources, readCheckpoint, writeCheckpoint } from '../../src/io/state'
import { commitFiles } from '../../src/io/store'
import { type ByteSource, writeSafetensors } from '../../src/io/writer'
import { errorOf, floats, temporaryFolder } from './helpers'

const sample = (step: number): CheckpointSources => ({
  model: { 'fc.weight': floats(step, 2) },
  optimizer: { tensors: { 'fc.weight.m': floats(0, step) }, state: { lr: 0.1 } },
  epoch: 3,
  step,
  dataPosition: { epoch: 3, offset: 96 },
  rng: { seed: 12345678901234567890n, counter: [1, 2] },
  config: { best: Infinity, zero: -0, missing: NaN, low: -Infinity },
  preprocessing: { labels: ['a', 'ß', '\u0000'], none: null },
  metrics: { loss: 0.1 + 0.2 },
})

const load = (folder: string) => readCheckpoint(folder, async state => state)
const setOf = async (folder: string) =>
  join(folder, JSON.parse(await readFile(join(folder, 'current.json'), 'utf8')).folder)

describe('checkpoint files', () => {
  test('the state comes back exactly, tensors and all', async () => {
    const folder = join(await temporaryFolder(), 'deep/er')
    await writeCheckpoint(folder, sample(7))
    const { model, optimizer, ...state } = sample(7)
    await readCheckpoint(folder, async (loaded, files) => {
      expect(loaded).toEqual({ ...state, optimizer: { lr: 0.1 } })
      expect(Object.is((loaded.config as { zero: number }).zero, -0)).toBe(true)
      expect((await readSafetensorsHeader(files.model)).tensors[0]).toMatchObject({ name: 'fc.weight', shape: [2] })
      expect((await readSafetensorsHeader(files.optimizer!)).tensors[0]).toMatchObject({ name: 'fc.weight.m' })
    })
  })

  test('a save replaces the one before and leaves nothing else', async () => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'notes.txt'), 'mine')
    await mkdir(join(folder, 'checkpoint-0123456789abcdef')) // the remains of a killed save
    await mkdir(join(folder, 'checkpoint-mine'))
    await Promise.all([1, 2, 3].map(step => writeCheckpoint(folder, sample(step)))) // one after the other
    expect((await load(folder)).step).toBe(3)
    const entries = (await readdir(folder)).filter(name => !/^checkpoint-[0-9a-f]{16}$/.test(name))
    expect(entries.sort()).toEqual(['checkpoint-mine', 'current.json', 'notes.txt'])
    expect(await readdir(folder)).toHaveLength(4)
  })

  test.each([
    ['null', /state.json: expected a JSON object, got null$/],
    ['[1]', /state.json: expected a JSON object, got \[1\]$/],
    ['{"a":', /state.json: .*JSON/],
    ['{"a":{"$anneal":"xn"}}', /state.json: .*BigInt/],
    [`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`, /state.json: /],
  ])('a state that is none is refused (%#)', async (text, message) => {
    const folder = await temporaryFolder()
    await commitFiles(folder, {
      'model.safetensors': path => writeSafetensors(path, {}, {}, { hash: true }),
      'state.json': path => writeAtomically(path, sink => sink.write(Buffer.from(text)), { hash: true }),
    })
    expect((await errorOf('ERR_FORMAT', () => load(folder))).message).toMatch(message)
  })

  test('a failing save keeps the last good one and removes its own files', async () => {
    const folder = await temporaryFolder()
    await writeCheckpoint(folder, sample(1))
    const failing: ByteSource = { dtype: 'float32', shape: [1], bytes: () => Promise.reject(new Error('device lost')) }
    await expect(writeCheckpoint(folder, { ...sample(2), model: { failing } })).rejects.toThrow('device lost')
    expect((await load(folder)).step).toBe(1)
    expect(await readdir(folder)).toHaveLength(2)
    await writeCheckpoint(folder, sample(3))
    expect((await load(folder)).step).toBe(3)
  })

  test.each(['model.safetensors', 'optimizer.safetensors', 'state.json', 'manifest.json'])(
    'a changed byte in %s is found, with both checksums',
    async name => {
      const folder = await temporaryFolder()
      await writeCheckpoint(folder, sample(1))
      const path = join(await setOf(folder), name)
      const bytes = await readFile(path)
      bytes[bytes.length - 3]! ^= 1
      await writeFile(path, bytes)
      const { message } = await errorOf('ERR_FORMAT', () => load(folder))
      expect(message).toContain(name)
      expect(new Set(message.match(/[0-9a-f]{64}/g)).size).toBe(2)
      await appendFile(path, 'x')
      expect((await errorOf('ERR_FORMAT', () => load(folder))).message).toContain(`got ${bytes.length + 1} bytes`)
      await rm(path)
      expect((await errorOf('ERR_IO', () => load(folder))).message).toContain(name)
    },
  )

  test('a broken or hostile current.json is refused, and the sets behind it are kept until a save succeeds', async () => {
    const folder = await temporaryFolder()
    await writeCheckpoint(folder, sample(1))
    const path = join(folder, 'current.json')
    const good = JSON.parse(await readFile(path, 'utf8'))
    for (const broken of [
      { ...good, folder: '../../etc' },
      { ...good, version: 2 },
      { ...good, manifest: null },
      null,
    ]) {
      await writeFile(path, JSON.stringify(broken))
      expect((await errorOf('ERR_FORMAT', () => load(folder))).message).toContain('current.json')
    }
    await writeFile(path, '{')
    await errorOf('ERR_FORMAT', () => load(folder))
    const failing: ByteSource = { dtype: 'float32', shape: [1], bytes: () => Promise.reject(new Error('no')) }
    await expect(writeCheckpoint(folder, { ...sample(2), model: { failing } })).rejects.toThrow('no')
    expect(await readdir(join(folder, good.folder))).toContain('model.safetensors')
    await writeCheckpoint(folder, sample(2))
    expect((await load(folder)).step).toBe(2)
    expect(await readdir(folder)).toHaveLength(2)
  })

  test('no checkpoint is an ERR_IO that names the place', async () => {
    const folder = join(await temporaryFolder(), 'none')
    expect((await errorOf('ERR_IO', () => load(folder))).message).toContain(folder)
  })

  test('a save meanwhile does not disturb a load', async () => {
    const folder = await temporaryFolder()
    await writeCheckpoint(folder, sample(1))
    let saves = 0
    const state = await readCheckpoint(folder, async (state, files) => {
      if (saves++ === 0) await writeCheckpoint(folder, sample(2)) // the files under way are gone now
      await readSafetensorsHeader(files.model)
      return state
    })
    expect(state.step).toBe(2)
  })

  test('state that is not plain data is refused by its place', async () => {
    const folder = await temporaryFolder()
    const save = (config: unknown) => () => writeCheckpoint(folder, { ...sample(1), config: config as Plain })
    expect((await errorOf('ERR_VALUE', save({ a: [1, new Map()] }))).message).toMatch(/config\.a\[1\].*a Map/)
    expect((await errorOf('ERR_VALUE', save({ f: () => 1 }))).message).toMatch(/config\.f.*function/)
    const cycle: Record<string, unknown> = {}
    cycle.self = cycle
    expect((await errorOf('ERR_VALUE', save(cycle))).message).toMatch(/cycle/)
    expect(await readdir(folder)).toEqual([])
  })

  test('plain data survives its text', () => {
    const shared = { x: 1 }
    const value = [null, true, '', -0, NaN, Infinity, 5e-324, 2n ** 70n, { a: [], b: {} }, shared, shared]
    expect(decodePlain(encodePlain(value))).toEqual(value)
  })
})

describe('writing safetensors', () => {
  test('data is aligned to its elements and ordered as the format has it', async () => {
    const path = join(await temporaryFolder(), 'a.safetensors')
    const byte: ByteSource = { dtype: 'int8', shape: [3], bytes: async () => new Uint8Array([1, 2, 3]) }
    const wide: ByteSource = { dtype: 'float64', shape: [], bytes: async () => new Uint8Array(8) }
    await writeSafetensors(path, { byte, z: floats(1), a: floats(2, 3), wide }, { format: 'pt', note: 'é' })
    const { tensors, metadata } = await readSafetensorsHeader(path)
    expect(tensors.map(t => t.name)).toEqual(['wide', 'a', 'z', 'byte'])
    expect(tensors.map(t => t.begin % 8)).toEqual([0, 0, 0, 4])
    expect(metadata).toEqual({ format: 'pt', note: 'é' })
    const bytes = await readFile(path)
    expect([...bytes.subarray(tensors[3]!.begin)]).toEqual([1, 2, 3])
  })

  test('what the format cannot hold is refused before anything is written', async () => {
    const folder = await temporaryFolder()
    const path = join(folder, 'a.safetensors')
    const write = (sources: Record<string, ByteSource>, metadata = {}) =>
      errorOf('ERR_VALUE', () => writeSafetensors(path, sources, metadata))
    expect((await write({ __metadata__: floats(1) })).message).toMatch(/other than __metadata__/)
    expect((await write({ '\ud800': floats(1) })).message).toMatch(/well-formed/)
    expect((await write({ a: { ...floats(1), dtype: 'uint16' as 'uint8' } })).message).toMatch(
      /cannot be stored as uint16/,
    )
    expect((await write({}, { n: 1 })).message).toMatch(/metadata "n"/)
    expect((await write({ a: { ...floats(1), shape: [2] } })).message).toMatch(/tensor "a": expected 8 bytes, got 4/)
    expect(await readdir(folder)).toEqual([])
  })

  test('a failure leaves the old file as it was', async () => {
    const folder = await temporaryFolder()
    const path = join(folder, 'a.safetensors')
    await writeSafetensors(path, { a: floats(1) })
    const before = await readFile(path)
    await errorOf('ERR_VALUE', () => writeSafetensors(path, { a: { ...floats(9, 9), shape: [1] } }))
    expect((await readFile(path)).equals(before)).toBe(true)
    expect(await readdir(folder)).toEqual(['a.safetensors'])
    await errorOf('ERR_IO', () => writeSafetensors(join(folder, 'none/a.safetensors'), { a: floats(1) }))
  })
})
