import { open, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Tensor, tensor } from 'anneal'
import { loadCheckpoint, loadSafetensors, readSafetensorsHeader, saveCheckpoint, saveSafetensors } from 'anneal/io'
import { describe, expect, test } from 'vitest'
import { scope } from '../../src/lifetime'
import { errorOf, integers, safetensors, temporaryFolder } from './helpers'

const fresh = async () => join(await temporaryFolder(), 'model.safetensors')

const bytesOf = async (t: Tensor) => Buffer.from(await t.bytes())

const samples = (): Record<string, Tensor> => ({
  float32: tensor([
    [1.5, -0, NaN],
    [Infinity, -Infinity, 1e-45],
  ]),
  float64: tensor([0.1, Number.MAX_VALUE, 5e-324], { dtype: 'float64' }),
  float16: tensor([65504, 6e-8, NaN, -0], { dtype: 'float16' }),
  bfloat16: tensor([3e38, 1e-40, Infinity], { dtype: 'bfloat16' }),
  int8: tensor(new Int8Array([-128, 127, 0])),
  uint8: tensor(new Uint8Array([0, 255, 7])),
  int32: tensor(new Int32Array([-(2 ** 31), 2 ** 31 - 1])),
  int64: tensor(new BigInt64Array([-(2n ** 63n), 2n ** 63n - 1n])),
  bool: tensor([true, false, true]),
  scalar: tensor(7),
  empty: tensor(new Float32Array(0), { shape: [0, 3] }),
})

describe('safetensors', () => {
  test('every dtype comes back bit for bit', async () => {
    const path = await fresh()
    const saved = samples()
    await saveSafetensors(path, saved, { note: 'all' })
    expect((await readSafetensorsHeader(path)).metadata).toEqual({ note: 'all' })
    const loaded = await loadSafetensors(path)
    expect(Object.keys(loaded).sort()).toEqual(Object.keys(saved).sort())
    for (const [name, t] of Object.entries(saved)) {
      expect([loaded[name]!.dtype, loaded[name]!.shape]).toEqual([t.dtype, t.shape])
      expect((await bytesOf(loaded[name]!)).equals(await bytesOf(t)), name).toBe(true)
    }
    expect(await loaded.bool!.toArray()).toEqual([true, false, true])
  })

  test('views are written as what they show', async () => {
    const path = await fresh()
    await saveSafetensors(path, {
      t: tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]).permute([1, 0]),
    })
    expect(await (await loadSafetensors(path)).t!.toArray()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ])
  })

  test('a tensor of many pieces is written whole', async () => {
    const path = await fresh()
    const rows = tensor(
      Int32Array.from({ length: 2_500_000 }, (_, i) => i),
      { shape: [1_250_000, 2] },
    )
    await saveSafetensors(path, { rows, columns: rows.permute([1, 0]) })
    const { rows: loaded, columns } = await loadSafetensors(path)
    expect((await bytesOf(loaded!)).equals(await bytesOf(rows))).toBe(true)
    expect((await bytesOf(columns!)).equals(await bytesOf(rows.permute([1, 0])))).toBe(true)
  })

  test('data that is not aligned to its elements is read as well', async () => {
    const path = await fresh()
    const data = Buffer.concat([Buffer.from([9]), Buffer.from(new Float64Array([Math.PI, -2]).buffer)])
    const header = {
      a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] },
      b: { dtype: 'F64', shape: [2], data_offsets: [1, 17] },
    }
    await writeFile(path, safetensors(header, data))
    const { a, b } = await loadSafetensors(path)
    expect([await a!.toArray(), await b!.toArray()]).toEqual([[9], [Math.PI, -2]])
  })

  test('loaded tensors stay when their file is replaced, and take part in computation', async () => {
    const path = await fresh()
    await saveSafetensors(path, { w: tensor([1, 2]) })
    const { w } = await loadSafetensors(path)
    await saveSafetensors(path, { w: tensor([3, 4]) })
    expect(await w!.add(1).toArray()).toEqual([2, 3])
    expect(await (await loadSafetensors(path)).w!.toArray()).toEqual([3, 4])
  })

  test('a file over 2 GB is mapped, not read', async () => {
    const path = await fresh()
    const size = 3 * 2 ** 30
    const offsets = [size, size + 8]
    const header = {
      large: { dtype: 'U8', shape: [size], data_offsets: [0, size] },
      last: { dtype: 'F32', shape: [2], data_offsets: offsets },
    }
    const start = safetensors(header)
    const handle = await open(path, 'w')
    await handle.write(start)
    await handle.write(Buffer.from(new Float32Array([1, 2]).buffer), 0, 8, start.length + size)
    await handle.close()
    const before = process.memoryUsage().rss
    const { large, last } = await loadSafetensors(path)
    expect([large!.shape, await last!.toArray()]).toEqual([[size], [1, 2]])
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 29)
  })

  test('a bool byte other than 0 and 1 is refused', async () => {
    const path = await fresh()
    await writeFile(
      path,
      safetensors({ b: { dtype: 'BOOL', shape: [3], data_offsets: [0, 3] } }, Buffer.from([1, 0, 2])),
    )
    expect((await errorOf('ERR_FORMAT', () => loadSafetensors(path))).message).toMatch(/tensor "b".*bool.*got 2/)
  })

  test('more axes than tensors have is an error, not a crash', async () => {
    const path = await fresh()
    await writeFile(path, safetensors({ a: { dtype: 'U8', shape: Array(100).fill(1), data_offsets: [0, 1] } }, 1))
    const { message } = await errorOf('ERR_FORMAT', () => loadSafetensors(path))
    expect(message).toContain(`${path}: tensor "a": expected a shape of at most 8 axes, got [1,1,`)
  })

  test('what is no tensor is refused by its name', async () => {
    for (const [value, got] of [
      [5, '5'],
      [null, 'null'],
      ['x', "'x'"],
    ]) {
      const { message } = await errorOf('ERR_VALUE', () => saveSafetensors('none', { a: value as never }))
      expect(message).toBe(`safetensors: tensor "a": expected a tensor, got ${got}`)
    }
  })

  test('mutated files load or are refused, and never crash', async () => {
    const folder = await temporaryFolder()
    const path = join(folder, 'seed')
    await saveSafetensors(path, { a: tensor([1, 2]), b: tensor([true, false]), c: tensor([1n]) })
    const good = await readFile(path)
    const random = integers(3)
    let loaded = 0
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(random(4) === 0 ? good.subarray(0, random(good.length)) : good)
      for (let edits = 1 + random(2); edits > 0 && bytes.length > 0; edits--) bytes[random(bytes.length)] = random(256)
      await writeFile(join(folder, 'next'), bytes)
      await rename(join(folder, 'next'), path) // in place would change pages that are still mapped
      try {
        for (const t of Object.values(await loadSafetensors(path))) await t.data()
        loaded++
      } catch (error) {
        expect(['ERR_FORMAT', 'ERR_SHAPE']).toContain((error as { code: string }).code)
      }
    }
    expect(loaded).toBeGreaterThan(40)
  })

  test('a save that is not awaited outlives the scope of its tensors', async () => {
    const path = await fresh()
    const saved = scope(() => [saveSafetensors(path, { w: tensor([1, 2]) })])
    await saved[0]
    expect(await (await loadSafetensors(path)).w!.toArray()).toEqual([1, 2])
  })

  test('a disposed tensor is refused and nothing is written', async () => {
    const path = await fresh()
    const t = tensor([1])
    t.dispose()
    await errorOf('ERR_STATE', () => saveSafetensors(path, { t }))
    await expect(stat(path)).rejects.toThrow('ENOENT')
  })
})

describe('checkpoints', () => {
  test('a checkpoint comes back whole, bit for bit', async () => {
    const folder = await temporaryFolder()
    const model = samples()
    const optimizer = { tensors: { 'w.m': tensor([0.25]) }, state: { step: 12, lr: 1e-3 } }
    const state = {
      epoch: 2,
      step: 12,
      rng: [1n, 2n],
      dataPosition: { shard: 1 },
      config: { best: Infinity },
      metrics: { loss: NaN },
    }
    await saveCheckpoint(folder, { ...state, model, optimizer })
    const { model: loaded, optimizer: loadedOptimizer, ...rest } = await loadCheckpoint(folder)
    expect(rest).toEqual(state)
    for (const [name, t] of Object.entries(model))
      expect((await bytesOf(loaded[name]!)).equals(await bytesOf(t))).toBe(true)
    expect(loadedOptimizer!.state).toEqual(optimizer.state)
    expect(await loadedOptimizer!.tensors['w.m']!.toArray()).toEqual([0.25])
  })

  test('without an optimizer there is none, and the mapped tensors outlive the next save', async () => {
    const folder = await temporaryFolder()
    await saveCheckpoint(folder, { model: { w: tensor([1]) }, epoch: 0, step: 1 })
    const first = await loadCheckpoint(folder)
    await saveCheckpoint(folder, { model: { w: tensor([2]) }, epoch: 0, step: 2 })
    expect(first.optimizer).toBeUndefined()
    expect(await first.model.w!.toArray()).toEqual([1])
    expect((await loadCheckpoint(folder)).step).toBe(2)
    expect(await readdir(folder)).toHaveLength(2)
  })

  test('the state is that of the call, also when a save waits for another', async () => {
    const folder = await temporaryFolder()
    const config = { best: 1 }
    const saves = [1, 2].map(step => saveCheckpoint(folder, { model: { w: tensor([step]) }, epoch: 0, step, config }))
    config.best = 99
    await Promise.all(saves)
    expect((await loadCheckpoint(folder)).config).toEqual({ best: 1 })
  })
})
