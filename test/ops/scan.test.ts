import { cumprod, cumsum, tensor } from 'anneal'
import { expect, test } from 'vitest'

test('running sums of many float32 do not drift', async () => {
  const n = 200_000
  const values = new Float32Array(n).fill(Math.fround(0.1))
  const total = (await cumsum(tensor(values), 0).data())[n - 1] as number
  expect(Math.abs(total / (n * Math.fround(0.1)) - 1)).toBeLessThan(1e-7)
})

test('products of integers wrap around as int64 does', async () => {
  const x = tensor(new BigInt64Array([2n ** 62n, 2n, 3n]))
  expect(await cumprod(x, 0).data()).toEqual(new BigInt64Array([2n ** 62n, -(2n ** 63n), -(2n ** 63n)]))
})

test('long lines along every axis', async () => {
  const x = tensor(Float64Array.from({ length: 40_000 }, (_, i) => i % 11))
  for (const shape of [
    [2, 20_000],
    [20_000, 2],
    [4, 100, 100],
  ]) {
    const axis = shape.length === 3 ? 1 : shape.indexOf(20_000)
    const sums = await cumsum(x.reshape(shape), axis).toArray()
    const step = shape.slice(axis + 1).reduce((a, b) => a * b, 1)
    const flat = (sums as number[][]).flat(3) as number[]
    for (let i = 0; i < flat.length; i++) {
      const before = Math.floor(i / step) % shape[axis]! === 0 ? 0 : flat[i - step]!
      if (flat[i] !== before + (i % 11)) throw new Error(`[${shape}] at ${i}: ${flat[i]}`)
    }
    expect(flat.length).toBe(40_000)
  }
})

test('an axis out of range is refused', () => {
  const x = tensor([[1, 2]])
  expect(() => cumsum(x, 2)).toThrow(expect.objectContaining({ code: 'ERR_INDEX' }))
  expect(() => cumprod(x, -3)).toThrow(/^cumprod: /)
  expect(() => x.cumsum(1.5)).toThrow(/integer/)
})
