import {
  Buffer,
  compile,
  emptyCache,
  full,
  manualSeed,
  memory,
  optim,
  Parameter,
  randomNormal,
  randomState,
  setMemoryLimit,
  synchronize,
  type Tensor,
  tensor,
  zerosLike,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { thrown } from '../support/thrown'
import { flat } from '../support/values'
import { network, stepOf } from './networks'

describe('state', () => {
  test('buffers keep what was assigned, and snapshots keep what was there before', async () => {
    const count = new Buffer(tensor([0]))
    const run = compile(() => {
      const before = count.detach()
      count.assign(count.add(1))
      count.assign(count.mul(2))
      return [before, count.add(0)]
    })
    const snapshots: Tensor[] = []
    for (const [before, after] of [
      [0, 2],
      [2, 6],
      [6, 14],
    ]) {
      const [a, b] = run()
      expect([await a!.item(), await b!.item()]).toEqual([before, after])
      snapshots.push(count.detach())
    }
    expect(await Promise.all(snapshots.map(t => t.item()))).toEqual([2, 6, 14])
  })

  test('a run that fails leaves parameters as they were', async () => {
    const table = new Parameter(tensor([[1], [2]]))
    const other = new Buffer(tensor([5]))
    const run = compile((index: Tensor) => {
      table.grad = undefined
      const loss = table.indexSelect(index, 0).sum()
      loss.backward()
      other.assign(other.add(loss.detach()))
      return loss
    })
    expect(await run(tensor(Int32Array.of(0))).item()).toBe(1)
    const lost = run(tensor(Int32Array.of(7)))
    await expect(lost.item()).rejects.toThrow(/index 7 .*out of range/)
    expect(await flat(other)).toEqual([6])
    expect(await run(tensor(Int32Array.of(1))).item()).toBe(2)
    expect(await flat(other)).toEqual([8])
  })

  test('a run that finds no memory counts no step', async () => {
    const weight = new Parameter(full([1000, 1000], 1))
    const optimizer = new optim.Adam([weight], { lr: 0.1 })
    const average = new optim.ExponentialMovingAverage([weight], { warmUp: true })
    const run = compile((x: Tensor) => {
      weight.mul(x).sum().backward()
      optimizer.step()
      optimizer.zeroGrad()
      average.update()
    })
    run(tensor(1))
    const held = [weight.detach(), ...average.averages().map(t => t.detach())] // new values need memory of their own
    await synchronize()
    emptyCache()
    setMemoryLimit(memory().used + 1e6)
    try {
      for (let i = 0; i < 3; i++) expect(thrown(() => run(tensor(1))).code).toBe('ERR_MEMORY')
    } finally {
      setMemoryLimit(0)
    }
    expect(optimizer.steps).toBe(1)
    run(tensor(1))
    expect((optimizer.stateDict().state as { steps: number[] }).steps).toEqual([2])
    expect(await flat(held[0]!.max())).toEqual(await flat(held[0]!.min()))
  })

  test('two cells may trade values', async () => {
    const [a, b] = [new Buffer(tensor([1])), new Buffer(tensor([2]))]
    const swap = compile(() => {
      const old = a.detach()
      a.assign(b)
      b.assign(old)
    })
    swap()
    expect([await a.item(), await b.item()]).toEqual([2, 1])
    swap()
    expect([await a.item(), await b.item()]).toEqual([1, 2])
  })

  test('constants that cells and gradients take', async () => {
    const cell = new Buffer(tensor([1, 2, 3]))
    const clear = compile(() => cell.assign(zerosLike(cell)))
    const weight = new Parameter(full([1000], 2))
    const constant = compile(() => {
      weight.grad = undefined
      weight.sum().backward()
    })
    const collected = compile(() => weight.round().mean().add(weight.sum()).backward())
    for (let i = 0; i < 3; i++) {
      cell.assign(tensor([1, 2, 3]))
      clear()
      expect(await flat(cell)).toEqual([0, 0, 0])
      constant()
      const before = weight.grad!
      expect(await flat(before)).toEqual(Array(1000).fill(1))
      for (let k = 0; k < 3; k++) collected()
      expect(await flat(weight.grad!)).toEqual(Array(1000).fill(4))
      expect(await flat(before)).toEqual(Array(1000).fill(1))
    }
  })

  test('what is prepared from a parameter follows it to another part of the same memory', async () => {
    const parts = tensor([
      [1, 2],
      [30, 40],
    ])
    const weight = new Parameter(parts.index(0))
    const run = compile((x: Tensor) => x.add(weight.mul(10)))
    for (const [part, expected] of [
      [0, [10, 20]],
      [1, [300, 400]],
      [0, [10, 20]],
    ] as const) {
      weight.assign(parts.index(part))
      expect(await flat(run(tensor([0, 0])))).toEqual(expected)
    }
  })

  test('random numbers go on as without capturing', async () => {
    const draw = () => randomNormal([5])
    const run = compile(draw)
    manualSeed(3)
    const plain = [await flat(draw()), await flat(draw()), randomState()]
    manualSeed(3)
    expect([await flat(run()), await flat(run()), randomState()]).toEqual(plain)
  })

  test('memory stays flat over many runs', async () => {
    const { step } = stepOf(network(), new optim.SGD(network().parameters(), { lr: 0.1 }))
    const run = compile(step)
    const [x, y] = [randomNormal([4, 3]), tensor(Int32Array.of(0, 1, 0, 1))]
    for (let i = 0; i < 20; i++) run(x, y).dispose()
    await synchronize() // a GPU's kernels have working memory
    const { used } = memory()
    for (let i = 0; i < 500; i++) run(x, y).dispose()
    await synchronize()
    expect(memory().used).toBeLessThanOrEqual(used)
  })
})
