// Sums, means and extrema are computed with the elementwise operations before them.
import { compile, getThreads, manualSeed, randomNormal, setThreads, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { expectJoined } from '../support/joined'
import { flat } from '../support/values'
import { fused } from './fused'

describe('reductions take in elementwise results, bit for bit', () => {
  const exact = { tolerance: 0 }
  const reductions: [string, (x: Tensor, options?: { axis?: number | number[] }) => Tensor][] = [
    ['sum', (x, options) => x.sum(options)],
    ['mean', (x, options) => x.mean(options)],
    ['max', (x, options) => x.max(options)],
    ['min', (x, options) => x.min(options)],
  ]

  test.each([[5], [3, 4, 50], [7, 33], [2, 600, 1000], [300001], [40, 3001], [5, 70001], [1, 40], [40, 1]])(
    'over rows and over all axes: %s',
    async (...shape) => {
      manualSeed(16)
      const [x, y] = [randomNormal(shape), randomNormal(shape)]
      for (const [name, reduce] of reductions) {
        expectJoined(await fused((a, b) => [reduce(a.mul(b))], [x, y], exact), [`mul ${name}`])
        const rows = await fused((a, b) => [reduce(a.sub(b).square(), { axis: -1 })], [x, y], exact)
        expectJoined(rows, [shape.at(-1) === 1 ? 'sub square' : `sub square ${name}`])
      }
    },
  )

  test('over several axes, of float64, and of what is read elsewhere too', async () => {
    manualSeed(17)
    const x = randomNormal([30, 5, 10]).cast('float64')
    const found = await fused(
      a => {
        const y = a.exp()
        return [y.sum({ axis: [1, 2], keepDims: true }), y.softmax(), y.reshape([1500]).cumsum(0)]
      },
      [x],
      exact,
    )
    expectJoined(found, ['exp sum'])
  })

  test('of another shape', async () => {
    manualSeed(18)
    const found = await fused(a => [a.exp().reshape([6, 40]).mean({ axis: 1 })], [randomNormal([3, 80])], exact)
    expectJoined(found, ['exp mean'])
  })

  test('but not over other axes, on a CPU rows that are short or added up in another order, and one of them only', async () => {
    manualSeed(19)
    const x = randomNormal([3, 4, 40])
    expectJoined(await fused(a => [a.exp().sum({ axis: 1 }), a.tanh().sum({ axis: 0 })], [x], exact), [])
    expectJoined(await fused(a => [a.exp().sum({ axis: 1 })], [randomNormal([9, 31])], exact), [], ['exp sum'])
    expectJoined(await fused(a => [a.exp().sum({ axis: 1 })], [randomNormal([9, 1500])], exact), [], ['exp sum'])
    const both = (a: Tensor) => {
      const y = a.exp()
      return [y.sum(), y.max()]
    }
    expectJoined(await fused(both, [x], exact), ['exp sum'])
  })

  test('with NaN, infinities and large values', async () => {
    const x = tensor([
      [1, Number.NaN, 3],
      [Number.POSITIVE_INFINITY, -1, 2],
      [3e38, 3e38, 1],
    ])
    const run = compile((a: Tensor) => [a.mul(1.5).max(), a.index(1).mul(1.5).sum(), a.index(2).mul(1.5).max()])
    const found = await Promise.all(run(x).map(flat))
    expect(found).toEqual([[Number.NaN], [Number.POSITIVE_INFINITY], [Number.POSITIVE_INFINITY]])
  })

  test('whatever the number of threads', async () => {
    manualSeed(20)
    const x = randomNormal([3, 70001])
    const run = compile((a: Tensor) => [a.tanh().sum(), a.exp().mean({ axis: 1 })])
    const before = getThreads()
    try {
      const results = []
      for (const count of [1, 2, 3]) {
        setThreads(count)
        results.push(await Promise.all(run(x).map(flat)))
      }
      expect(results[1]).toEqual(results[0])
      expect(results[2]).toEqual(results[0])
    } finally {
      setThreads(before)
    }
  })
})
