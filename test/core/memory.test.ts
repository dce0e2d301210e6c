import {
  emptyCache,
  keep,
  leakReport,
  losses,
  memory,
  nn,
  optim,
  resetPeakMemory,
  scope,
  setMemoryLimit,
  type Tensor,
  tensor,
  trackTensors,
  zeros,
} from 'anneal'
import { afterEach, describe, expect, test } from 'vitest'
import { codeOf } from '../support/thrown'

describe('scope', () => {
  test('frees what was made inside, but what it returns', async () => {
    const inner: Tensor[] = []
    const before = memory().tensors
    const { y, list } = scope(() => {
      const x = tensor([1, 2])
      inner.push(x)
      return { y: x.add(1), list: [x.mul(3)] }
    })
    expect(() => inner[0]!.add(1)).toThrow(/disposed/)
    expect([await y.toArray(), await list[0]!.toArray()]).toEqual([
      [2, 3],
      [3, 6],
    ])
    expect(memory().tensors).toBe(before + 2)
  })

  test('follows await, nests, and frees after errors', async () => {
    const made: Tensor[] = []
    const note = (t: Tensor) => {
      made.push(t)
      return t
    }
    const result = await scope(async () => {
      const a = note(tensor([1]))
      await new Promise(resolve => setTimeout(resolve, 2))
      const b = scope(() => note(a.add(1)).mul(2))
      return b.add(note(tensor([1])))
    })
    expect(await result.toArray()).toEqual([5])
    await expect(
      scope(async () => {
        note(tensor([7]))
        await null
        throw new Error('mine')
      }),
    ).rejects.toThrow('mine')
    for (const t of made) expect(() => t.add(1)).toThrow(/disposed/)
  })

  test('keep takes a tensor out', async () => {
    const kept = scope(() => [keep(tensor([4]))])[0]!
    let other!: Tensor
    scope(() => {
      other = keep(tensor([5]))
    })
    expect([await kept.toArray(), await other.toArray()]).toEqual([[4], [5]])
    const outer: Tensor[] = []
    await scope(async () => {
      outer.push(tensor([6]))
      scope(() => keep(outer[0]!))
      await tensor([0]).data()
      outer.push(tensor([7]))
      scope(() => scope(() => void keep(outer[1]!)))
    })
    expect([await outer[0]!.item(), await outer[1]!.item()]).toEqual([6, 7])
  })
})

describe('memory', () => {
  afterEach(() => setMemoryLimit(0))

  test('is counted, peaks included, and given back', () => {
    emptyCache()
    resetPeakMemory()
    const before = memory()
    const x = zeros([1024, 1024])
    const during = memory()
    expect(during.used - before.used).toBeGreaterThanOrEqual(4 * 1024 * 1024)
    x.dispose()
    const after = memory()
    expect(after.used).toBe(before.used)
    expect(after.peak).toBeGreaterThanOrEqual(during.used)
    expect(after.pooled).toBeGreaterThan(0)
    emptyCache()
    expect(memory().pooled).toBeLessThan(after.pooled)
  })

  test('over the limit is an error that lists the largest tensors, and the process goes on', async () => {
    emptyCache()
    const big = zeros([1000, 1000])
    setMemoryLimit(memory().used + memory().pooled + 1024 * 1024)
    expect(() => zeros([4000, 1000])).toThrow(
      /out of memory: float32\[4000,1000\] needs 15.5 MiB.*largest live tensors: float32\[1000,1000\]/,
    )
    setMemoryLimit(0)
    expect(await zeros([4000, 1000]).add(big.sum()).sum().item()).toBe(0)
  })

  test.each([-1, Number.NaN, Infinity, 1e300, 0.5, '1GB', undefined, null])('%s is no limit', limit => {
    expect(codeOf(() => setMemoryLimit(limit as never))).toBe('ERR_VALUE')
    expect(() => setMemoryLimit(limit as never)).toThrow(
      `setMemoryLimit: expected a whole number of bytes, 0 for no limit; got ${limit}`,
    )
    expect(memory().limit).toBe(0)
  })

  test('huge shapes are refused, not attempted', () => {
    expect(() => zeros([2 ** 30, 2 ** 12])).toThrow(/out of memory/)
  })

  test('stays flat over 10,000 steps of training', async () => {
    const model = new nn.Sequential(new nn.Linear(4, 8), new nn.Tanh(), new nn.Linear(8, 1))
    const optimizer = new optim.Adam(model.parameters())
    const [x, y] = [tensor([[1, 2, 3, 4]]), tensor([[1]])]
    const run = async (steps: number) => {
      for (let i = 0; i < steps; i++) {
        const loss = scope(() => {
          optimizer.zeroGrad()
          const loss = losses.mse(model.forward(x), y)
          loss.backward()
          optimizer.step()
          return loss
        })
        if (i % 100 === 99) await loss.item()
        loss.dispose()
      }
      optimizer.zeroGrad()
      return memory()
    }
    const early = await run(500)
    const late = await run(9500)
    // Garbage of earlier tests may be collected meanwhile; a leak would show thousands of times.
    expect(late.used).toBeLessThanOrEqual(early.used)
    expect(late.tensors).toBeLessThanOrEqual(early.tensors)
    // How far steps are queued ahead of a GPU differs, and with it what is needed at once.
    expect(late.allocations - early.allocations).toBeLessThan(100)
  })

  test('what is never disposed of is collected', async () => {
    const before = memory().tensors
    for (let round = 0; round < 30; round++) {
      for (let i = 0; i < 100; i++) zeros([256, 256]).add(1)
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    // Six thousand tensors of 256 KiB were made, 1.5 GiB: without collection they would all be alive.
    expect(memory().tensors - before).toBeLessThan(5000)
  })

  test('a leak report names the place', () => {
    trackTensors(true)
    const leaked = [tensor([1]), tensor([2])]
    tensor([3]).dispose()
    const report = leakReport()
    trackTensors(false)
    expect(report.reduce((n, group) => n + group.count, 0)).toBe(2)
    expect(report[0]!.stack).toContain('memory.test.ts')
    expect(leaked).toHaveLength(2)
  })
})
