import { type DType, gradients, type Tensor, tensor, unique } from 'anneal'
import { expect, test } from 'vitest'

const list = async (t: Tensor) => Array.from((await t.data()) as ArrayLike<unknown> as ArrayLike<number>, Number)

async function lists(x: Tensor) {
  const { values, inverse, counts } = await unique(x)
  expect([inverse.dtype, counts.dtype, values.dtype]).toEqual(['int64', 'int64', x.dtype])
  expect(inverse.shape).toEqual(x.shape)
  return { values: await list(values), inverse: await list(inverse), counts: await list(counts) }
}

test('values in order, where each is, and how many', async () => {
  const x = [
    [3, -1, 3],
    [0, 7, -1],
  ]
  const expected = { values: [-1, 0, 3, 7], inverse: [2, 0, 2, 1, 3, 0], counts: [2, 1, 2, 1] }
  for (const dtype of ['float32', 'float64', 'float16', 'bfloat16', 'int8', 'int32', 'int64'] as DType[]) {
    expect(await lists(tensor(x, { dtype })), dtype).toEqual(expected)
  }
  const transposed = { ...expected, inverse: [2, 1, 0, 3, 2, 0] }
  expect(await lists(tensor(x).permute([1, 0]))).toEqual(transposed)
})

test('bools, scalars, one value, and nothing', async () => {
  expect(await lists(tensor([true, false, true]))).toEqual({ values: [0, 1], inverse: [1, 0, 1], counts: [1, 2] })
  expect(await lists(tensor(5))).toEqual({ values: [5], inverse: [0], counts: [1] })
  expect(await lists(tensor([2, 2, 2]))).toEqual({ values: [2], inverse: [0, 0, 0], counts: [3] })
  expect(await lists(tensor(new Float32Array(0), { shape: [2, 0] }))).toEqual({ values: [], inverse: [], counts: [] })
})

test('every NaN is a value of its own, after infinity; both zeros are one', async () => {
  const { NaN: nan, POSITIVE_INFINITY: inf } = Number
  expect(await lists(tensor([nan, 0, inf, nan, -inf, -0]))).toEqual({
    values: [-inf, 0, inf, nan, nan],
    inverse: [3, 1, 2, 4, 0, 1],
    counts: [1, 2, 1, 1, 1],
  })
})

test('many elements', async () => {
  const x = Int32Array.from({ length: 50_000 }, (_, i) => ((i * 7919) % 1009) - 500)
  const { values, inverse, counts } = await lists(tensor(x))
  expect(values).toEqual([...new Set(x)].sort((a, b) => a - b))
  expect(inverse.map(i => values[i])).toEqual([...x])
  expect(counts.reduce((a, b) => a + b)).toBe(50_000)
  expect(counts[0]).toBe(x.filter(v => v === -500).length)
})

test('the gradient of a value goes to its first element', async () => {
  const x = tensor([2, 1, 2]).requireGrad()
  const { values } = await unique(x)
  expect(await gradients([values.mul(tensor([10, 20])).sum()], [x])[0]!.toArray()).toEqual([20, 10, 0])
})
