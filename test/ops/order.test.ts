import { cumprod, cumsum, type DType, gradients, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { flat } from '../support/values'

/** Numbers that look random, the same in every run; `range` of them differ. */
function numbers(n: number, range: number, seed = 1): Float64Array {
  let state = seed
  return Float64Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * range) - Math.floor(range / 2)
  })
}

/** Which of `values` come first, equal ones in their order. */
function ordered(values: readonly number[], descending: boolean): number[] {
  const sign = descending ? -1 : 1
  return values.map((_, i) => i).sort((a, b) => sign * (values[a]! - values[b]!) || a - b)
}

const lengths = [1, 2, 3, 31, 32, 33, 64, 65, 127, 500, 1000, 2047, 2048, 2049, 5000, 40_000]

describe('rows of any length', () => {
  test.each(lengths)('of %i are sorted', async n => {
    const rows = Math.max(1, Math.min(9, Math.floor(6000 / n)))
    for (const [dtype, range] of [
      ['float32', 1e6],
      ['int64', 50],
      ['int8', 200],
      ['bfloat16', 7],
    ] as [DType, number][]) {
      const x = tensor(numbers(rows * n, range, n), { shape: [rows, n] }).cast(dtype)
      const values = await flat(x)
      const descending = dtype !== 'int64'
      const [sorted, indices] = x.sort({ descending })
      const [v, at] = [await flat(sorted), await flat(indices)]
      for (let r = 0; r < rows; r++) {
        const row = values.slice(r * n, (r + 1) * n)
        const expected = ordered(row, descending)
        expect(at.slice(r * n, (r + 1) * n), dtype).toEqual(expected)
        expect(v.slice(r * n, (r + 1) * n), dtype).toEqual(expected.map(i => row[i]))
      }
    }
  })

  test.each([
    [3000, 1],
    [3000, 5],
    [3000, 700],
    [30_000, 100],
    [30_000, 5000],
    [9000, 8000],
  ])('of %i give their %i best', async (n, k) => {
    for (const [dtype, range] of [
      ['float32', 1e6],
      ['float64', 1e3],
      ['float16', 100],
      ['uint8', 0],
      ['int32', 3],
    ] as [DType, number][]) {
      for (const largest of [true, false]) {
        const x = tensor(numbers(2 * n, range, k), { shape: [2, n] }).cast(dtype)
        const values = await flat(x)
        const [best, indices] = x.topK(k, { largest })
        const [v, at] = [await flat(best), await flat(indices)]
        for (let r = 0; r < 2; r++) {
          const row = values.slice(r * n, (r + 1) * n)
          const expected = ordered(row, largest).slice(0, k)
          expect(at.slice(r * k, (r + 1) * k), `${dtype} ${largest}`).toEqual(expected)
          expect(v.slice(r * k, (r + 1) * k), `${dtype} ${largest}`).toEqual(expected.map(i => row[i]))
        }
      }
    }
  })
})

test('NaN is the largest of long rows, and both zeros are equal', async () => {
  const values = Float32Array.from({ length: 6000 }, (_, i) => [Number.NaN, -0, 0, Infinity, -Infinity, -1][i % 6]!)
  const rank = [4, 2, 2, 3, 0, 1]
  const order = ordered(
    Array.from(values, (_, i) => rank[i % 6]!),
    false,
  )
  expect(await flat(tensor(values).sort()[1])).toEqual(order)
  expect(await flat(tensor(values).topK(1500, { largest: false })[1])).toEqual(order.slice(0, 1500))
  expect(await flat(tensor(values).topK(1200)[1])).toEqual(
    Array.from({ length: 1000 }, (_, i) => 6 * i).concat(Array.from({ length: 200 }, (_, i) => 6 * i + 3)),
  )
})

test('a middle axis is sorted like the last', async () => {
  const x = tensor(numbers(2100 * 2, 500), { shape: [1, 2100, 2] })
  const last = x.transpose(1, 2).contiguous()
  const [values, indices] = x.sort({ axis: 1 })
  const [v, i] = last.sort()
  expect(await flat(values.transpose(1, 2))).toEqual(await flat(v))
  expect(await flat(indices.transpose(1, 2))).toEqual(await flat(i))
  const [best, at] = x.topK(17, { axis: 1 })
  const [b, a] = last.topK(17)
  expect(await flat(best.transpose(1, 2))).toEqual(await flat(b))
  expect(await flat(at.transpose(1, 2))).toEqual(await flat(a))
})

test('running totals of lines of any length, either way', async () => {
  for (const n of [1, 5, 127, 128, 129, 513, 1025, 9000, 50_000]) {
    for (const columns of [1, 3]) {
      const x = tensor(numbers(n * columns, 100, n), { shape: [n, columns] })
      const values = await flat(x)
      for (const reverse of [false, true]) {
        const sums = await flat(cumsum(x, 0, { reverse }))
        for (let c = 0; c < columns; c++) {
          let total = 0
          for (let k = 0; k < n; k++) {
            const i = (reverse ? n - 1 - k : k) * columns + c
            total += values[i]!
            if (sums[i] !== total) throw new Error(`${n} of ${columns}, ${reverse}, at ${i}: ${sums[i]}, not ${total}`)
          }
        }
      }
    }
  }
})

test('the gradient of a long product is finite where its factors overflow but take no part', async () => {
  const n = 6000
  const x = tensor(new Float64Array(n).fill(2)).requireGrad()
  // Only the first results count: products of the others lie beyond the largest number.
  const weights = tensor(Float64Array.from({ length: n }, (_, i) => (i < 4 ? 1 : 0)))
  const products = cumprod(x, 0)
  expect((await flat(products)).slice(0, 4)).toEqual([2, 4, 8, 16])
  const gradient = await flat(
    gradients(
      [
        products
          .narrow(0, 0, 4)
          .mul(weights.narrow(0, 0, 4))
          .sum(),
      ],
      [x],
    )[0]!,
  )
  expect(gradient.slice(0, 5)).toEqual([15, 14, 12, 8, 0])
})
