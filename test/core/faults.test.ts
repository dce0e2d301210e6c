import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { compile, devices, indexSelect, synchronize, type Tensor, tensor, zeros } from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'

const execute = promisify(execFile)
const names = testDevice === 'cpu' ? [] : devices().map(({ name }) => name)
/** Devices between which values go to and fro, so that each waits for the other. */
const pairs = names.slice(1).flatMap((name, i) => [
  [names[i]!, name],
  [name, names[i]!],
])
const fixture = (name: string) => join(import.meta.dirname, 'fixtures', name)

describe('a fault after queueing', () => {
  test('rejects what depends on it, naming the op, and nothing else', async () => {
    const x = tensor([1, 2, 3])
    const bad = indexSelect(x, tensor([7], { dtype: 'int64' }), 0)
    const worse = bad.add(1).mul(2)
    const good = x.add(1)
    await expect(bad.data()).rejects.toThrow(/indexSelect/)
    await expect(worse.sum().item()).rejects.toMatchObject({ code: 'ERR_INDEX' })
    expect(() => bad.dataSync()).toThrow(/indexSelect/)
    await expect(worse.ready()).rejects.toThrow(/indexSelect/)
    expect(await good.toArray()).toEqual([2, 3, 4])
  })

  test('does not stay in memory that is used again', async () => {
    for (let i = 0; i < 20; i++) {
      const bad = indexSelect(zeros([4]), tensor([9], { dtype: 'int64' }), 0)
      await expect(bad.data()).rejects.toThrow()
      bad.dispose()
      expect(await zeros([1]).add(i).item()).toBe(i)
      expect(await tensor([i]).toArray()).toEqual([i])
    }
  })

  test('of several that are under way each rejects what depends on it', async () => {
    const x = tensor([1, 2, 3])
    const at = (i: number) => indexSelect(x, tensor([i], { dtype: 'int64' }), 0)
    const results = [0, 7, 1, 9, 2].map(i => at(i).mul(2))
    const mixed = results[0]!.add(results[3]!)
    expect(await results[4]!.item()).toBe(6)
    await expect(results[3]!.item()).rejects.toThrow(/index 9/)
    await expect(mixed.item()).rejects.toThrow(/index 9/)
    await expect(results[1]!.item()).rejects.toThrow(/index 7/)
    expect(await results[2]!.item()).toBe(4)
    expect(await results[0]!.item()).toBe(2)
    await expect(results[1]!.item()).rejects.toThrow(/index 7/)
  })

  test('rejects the runs of a compiled function that it belongs to, and no others', async () => {
    const x = tensor([1, 2, 3])
    const pick = compile((at: Tensor) => indexSelect(x, at, 0).mul(2))
    const run = (i: number) => pick(tensor([i], { dtype: 'int64' })).add(1)
    for (let repeat = 0; repeat < 3; repeat++) {
      const results = [0, 7, 1, 9, 2].map(run)
      expect(await results[4]!.item()).toBe(7)
      await expect(results[1]!.item()).rejects.toThrow(/index 7/)
      await expect(results[3]!.item()).rejects.toThrow(/index 9/)
      expect(await results[2]!.item()).toBe(5)
      expect(await results[0]!.item()).toBe(3)
    }
    const many = Array.from({ length: 200 }, (_, i) => run(i % 50 === 49 ? 3 : i % 3))
    for (const [i, y] of many.entries()) {
      if (i % 50 === 49) await expect(y.item()).rejects.toMatchObject({ code: 'ERR_INDEX' })
      else expect(await y.item()).toBe(2 * ((i % 3) + 1) + 1)
    }
  })

  test('travels with what is moved', async () => {
    const bad = indexSelect(zeros([4]), tensor([9], { dtype: 'int64' }), 0)
    await expect(bad.to('cpu').add(1).item()).rejects.toThrow(/index 9/)
    expect(await zeros([4]).to('cpu').add(1).toArray()).toEqual([1, 1, 1, 1])
  })
})

describe('environments', () => {
  test('several workers start, train and end', async () => {
    const results = await Promise.all(
      Array.from(
        { length: 6 },
        (_, seed) =>
          new Promise<number>((resolve, reject) => {
            const worker = new Worker(fixture('worker.cjs'), { workerData: { seed: seed % 2 } })
            let loss = Number.NaN
            worker.on('message', (value: number) => {
              loss = value
            })
            worker.on('error', reject)
            worker.on('exit', code => (code === 0 ? resolve(loss) : reject(new Error(`worker ended with ${code}`))))
          }),
      ),
    )
    // What a worker computes depends on its seed alone, not on its neighbours.
    expect(new Set(results.filter((_, i) => i % 2 === 0)).size).toBe(1)
    expect(new Set(results.filter((_, i) => i % 2 === 1)).size).toBe(1)
    for (const loss of results) expect(loss).toBeLessThan(1)
  })

  test('a worker may be terminated in the midst of work', async () => {
    for (let i = 0; i < 5; i++) {
      const worker = new Worker(fixture('worker.cjs'), { workerData: { seed: 1, endless: true } })
      await new Promise(resolve => worker.once('message', resolve))
      await worker.terminate()
    }
    expect(await tensor([1]).add(1).item()).toBe(2)
  })

  test('workers end at any moment and in any way', async () => {
    const expected: Record<string, number[]> = {
      terminate: [1],
      exit: [1, 3],
      throw: [1],
      rejection: [1],
      return: [0, 1],
    }
    const codes = async (way: string) => {
      const seen = new Set<number>()
      for (let i = 0; i < 8; i++) {
        const worker = new Worker(fixture('ends.cjs'), { workerData: way, stderr: true })
        worker.on('error', () => {})
        worker.once('message', () =>
          setTimeout(() => worker.terminate(), way === 'terminate' || i % 2 ? i * 5 : 5000).unref(),
        )
        seen.add(await new Promise<number>(resolve => worker.once('exit', resolve)))
      }
      return [...seen]
    }
    await Promise.all(
      Object.entries(expected).map(async ([way, ends]) => {
        for (const code of await codes(way)) expect(ends).toContain(code)
      }),
    )
    expect(await tensor([1]).add(1).item()).toBe(2)
  })

  test('a process ends cleanly with work in flight', () => {
    for (const way of ['return', 'exit', 'throw']) {
      const run = () => execFileSync(process.execPath, [fixture('exit.cjs'), way], { encoding: 'utf8', stdio: 'pipe' })
      if (way === 'throw') expect(run).toThrow(/mine/)
      else expect(run()).toBe('queued\n')
    }
  })

  test.each(pairs)('a process ends cleanly with copies between %s and %s in flight', async (...pair) => {
    for (let i = 0; i < 4; i++) {
      const ways = ['return', 'exit'].map(way => execute(process.execPath, [fixture('copies.cjs'), way, ...pair]))
      for (const { stdout } of await Promise.all(ways)) expect(stdout).toBe('queued\n')
    }
  })

  test('the library may be loaded twice into one environment', async () => {
    const { stdout } = await execute(process.execPath, ['--expose-gc', fixture('twice.cjs')])
    expect(stdout).toBe('[ 3 ] float32 [ 1, 2, 3 ] true\n')
  })

  test('synchronize waits', async () => {
    const x = zeros([300, 300]).add(1)
    let y = x
    for (let i = 0; i < 20; i++) y = y.matmul(x).mul(1 / 300)
    await synchronize()
    expect(y.dataSync()[0]).toBeCloseTo(1, 4)
  })
})
