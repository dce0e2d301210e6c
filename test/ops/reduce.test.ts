import { tensor } from 'anneal'
import { expect, test } from 'vitest'

test('sums of many elements are accurate over every layout', async () => {
  const n = 300_000
  const values = Float32Array.from({ length: n }, (_, i) => Math.fround(0.1 + (i % 7) * 1e-3))
  const exact = values.reduce((a, b) => a + b, 0)
  const x = tensor(values, { shape: [n] })
  for (const sum of [
    x.sum(),
    x.reshape([300, 1000]).sum({ axis: 0 }).sum(),
    x.reshape([1000, 300]).permute([1, 0]).sum(),
  ]) {
    expect(Math.abs((await sum.item()) - exact) / exact).toBeLessThan(1e-7)
  }
})

test('reductions of views with strides and broadcasts', async () => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ])
  expect(await x.permute([1, 0]).sum({ axis: 0 }).toArray()).toEqual([6, 15])
  expect(
    await x
      .reshape([2, 3, 1])
      .broadcastTo([2, 3, 4])
      .sum({ axis: [0, 2] })
      .toArray(),
  ).toEqual([20, 28, 36])
  expect(await x.reshape([2, 3, 1]).broadcastTo([2, 3, 4]).max({ axis: 1 }).toArray()).toEqual([
    [3, 3, 3, 3],
    [6, 6, 6, 6],
  ])
})

test('wrong axes and empty extremes are errors', () => {
  const x = tensor([[1, 2]])
  expect(() => x.sum({ axis: 2 })).toThrow(expect.objectContaining({ code: 'ERR_INDEX' }))
  expect(() => x.sum({ axis: [0, 0] })).toThrow('sum: axis 0 is given twice')
  expect(() => tensor([]).max()).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
  expect(() => tensor([]).argmax()).toThrow(/has no elements/)
  expect(() => x.topK(3)).toThrow('topK: k must lie from 0 to the 2 elements')
  expect(() => tensor([1], { dtype: 'int32' }).softmax()).toThrow(expect.objectContaining({ code: 'ERR_DTYPE' }))
})

test('argmax over rows longer than one piece finds the first of equal values', async () => {
  const values = new Float32Array(600_000)
  values[400_001] = 2
  values[500_000] = 2
  expect(await tensor(values).argmax().item()).toBe(400_001)
  values[599_999] = Number.NaN
  expect(await tensor(values).argmin().item()).toBe(599_999)
})

test('sorting long rows keeps the order of equal elements', async () => {
  const values = Float32Array.from({ length: 50_000 }, (_, i) => (i * 7919) % 1000)
  const [sorted, indices] = tensor(values).sort()
  const [v, at] = [await sorted.data(), (await indices.data()) as BigInt64Array]
  for (let i = 1; i < v.length; i++) {
    if (v[i - 1]! > v[i]! || (v[i - 1] === v[i] && at[i - 1]! > at[i]!)) throw new Error(`out of order at ${i}`)
  }
  expect(v[0]).toBe(0)
})
