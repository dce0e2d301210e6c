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

test.each([32, 33, 63, 64, 100, 768, 2048, 2049])('many rows of %i elements', async n => {
  const rows = 300
  const values = Float32Array.from({ length: rows * n }, (_, i) => ((i * 7919) % 1000) / 500 - 1)
  values[5 * n + 3] = Number.NaN
  values[6 * n + n - 1] = Number.NaN
  const x = tensor(values, { shape: [rows, n] })
  const row = (i: number) => Array.from(values.subarray(i * n, i * n + n))
  const [sum, max, min, squares, any, prod, std] = await Promise.all([
    x.sum({ axis: 1 }).data(),
    x.max({ axis: 1 }).data(),
    x.min({ axis: 1 }).data(),
    x.norm({ axis: 1 }).data(),
    x.abs().any({ axis: 1 }).data(),
    x.mul(1e-3).add(1).prod({ axis: 1 }).data(),
    x.std({ axis: 1 }).data(),
  ])
  for (let i = 0; i < rows; i++) {
    expect(Math.abs(Number(sum[i]) - row(i).reduce((a, b) => a + b, 0)) < 1e-4 || i === 5 || i === 6).toBe(true)
    expect(max[i]).toBe(Math.max(...row(i)))
    expect(min[i]).toBe(Math.min(...row(i)))
    expect(any[i]).toBe(1)
    if (i === 5 || i === 6) {
      expect([squares[i], prod[i], std[i]]).toEqual([Number.NaN, Number.NaN, Number.NaN])
      continue
    }
    const mean = row(i).reduce((a, b) => a + b, 0) / n
    expect(Number(squares[i])).toBeCloseTo(Math.hypot(...row(i)), 3)
    expect(Number(prod[i])).toBeCloseTo(
      row(i).reduce((a, b) => a * (1 + b * 1e-3), 1),
      4,
    )
    expect(Number(std[i])).toBeCloseTo(Math.sqrt(row(i).reduce((a, b) => a + (b - mean) ** 2, 0) / (n - 1)), 4)
  }
})
