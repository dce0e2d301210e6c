import { ctcLoss, gradients, logSoftmax, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'

const ints = (values: number[] | number[][], dtype: 'int32' | 'int64' = 'int64') => tensor(values, { dtype })
const near = (actual: ArrayLike<unknown>, expected: number[], digits: number) =>
  expected.forEach((e, i) => {
    expect(actual[i]).toBeCloseTo(e, digits)
  })

/** Logits [3, 1, 3] of one sample with the target 1, 2. */
function small(dtype: 'float32' | 'float64' = 'float64'): Tensor {
  return tensor([[[0.5, -1, 2]], [[1, 0, -0.5]], [[-1, 0.25, 0.75]]], { dtype }).requireGrad()
}

describe('through a log-softmax, as PyTorch gives it', () => {
  test('a small case', async () => {
    const x = small()
    const loss = ctcLoss(logSoftmax(x), ints([[1, 2]]), ints([3]), ints([2]), { reduction: 'sum' })
    expect(await loss.item()).toBeCloseTo(3.09507700563713, 12)
    const [gradient] = gradients([loss], [x])
    near(
      await gradient!.data(),
      [
        -0.32759773233854256, -0.45799930225073293, 0.7855970345892755, 0.3235146533101207, -0.3838737346080794,
        0.060359081297958694, 0.08578231242683661, 0.3406892610595998, -0.42647157348643644,
      ],
      12,
    )
  })

  test('hundreds of frames, in both precisions', async () => {
    const [frames, batch, classes, longest] = [400, 3, 40, 60]
    const size = frames * batch * classes
    const values = Float64Array.from({ length: size }, (_, i) => ((i * 37) % 101) / 25)
    const labels = Int32Array.from({ length: batch * longest }, (_, i) => (i < longest ? 1 : ((i * 7) % 39) + 1))
    const targets = tensor(labels, { shape: [batch, longest] })
    for (const [dtype, digits] of [
      ['float64', 8],
      ['float32', 1],
    ] as const) {
      const x = tensor(values, { shape: [frames, batch, classes] })
        .cast(dtype)
        .requireGrad()
      const lengths = [ints([400, 300, 150], 'int32'), ints([60, 50, 60], 'int32')] as const
      const losses = ctcLoss(logSoftmax(x), targets, ...lengths, { reduction: 'none' })
      near(await losses.data(), [1278.275549033566, 854.6076434759664, 407.9083551020529], digits)
      const g = await gradients([losses.sum()], [x])[0]!.data()
      let total = 0
      let wave = 0
      for (let i = 0; i < g.length; i++) {
        total += Math.abs(Number(g[i]))
        wave += Number(g[i]) * Math.sin(i)
      }
      near([total / 1000, wave], [1.488419895120504, -7.8730190941221805], dtype === 'float64' ? 8 : 2)
    }
  })
})

test('a target that is too long for its input: Infinity and NaN, or nothing', async () => {
  const targets = [ints([[1, 1]]), ints([2]), ints([2])] as const
  const x = small('float32')
  const loss = ctcLoss(logSoftmax(x), ...targets)
  expect(await loss.item()).toBe(Number.POSITIVE_INFINITY)
  expect((await gradients([loss], [x])[0]!.data()).slice(0, 6)).toEqual(new Float32Array(6).fill(Number.NaN))
  const none = ctcLoss(logSoftmax(x), ...targets, { zeroInfinity: true })
  expect(await none.item()).toBe(0)
  expect((await gradients([none], [x])[0]!.data()).every(g => Number(g) === 0)).toBe(true)
})

test('a class of no probability takes no gradient, and leaves the others theirs', async () => {
  const never = Number.NEGATIVE_INFINITY
  const x = tensor([[[-1, never, -2]], [[-0.5, -1, -3]]]).requireGrad()
  const loss = ctcLoss(x, ints([[1]]), ints([2]), ints([1]))
  expect(await loss.item()).toBe(2)
  expect(await gradients([loss], [x])[0]!.toArray()).toEqual([[[-1, 0, 0]], [[0, -1, 0]]])
})

test('an empty batch has no losses', async () => {
  const x = tensor(new Float32Array(0), { shape: [4, 0, 3] })
  const empty = tensor(new Int32Array(0))
  const losses = ctcLoss(x, empty.reshape([0, 2]), empty, empty, { reduction: 'none' })
  expect(await losses.toArray()).toEqual([])
})

test('the gradient has no gradient', () => {
  const x = small()
  const loss = ctcLoss(logSoftmax(x), ints([[1, 2]]), ints([3]), ints([2]))
  const [gradient] = gradients([loss], [x], { createGraph: true })
  expect(() => gradient!.sum().backward()).toThrow(expect.objectContaining({ code: 'ERR_GRADIENT' }))
})

describe('wrong inputs', () => {
  const x = tensor(new Float32Array(12).fill(-1), { shape: [3, 2, 2] })
  const targets = ints([[1], [1]])
  const [frames, lengths] = [ints([3, 3]), ints([1, 1])]

  test('shapes, dtypes and the blank', () => {
    expect(() => ctcLoss(x.reshape([3, 4]), targets, frames, lengths)).toThrow(
      'ctcLoss: expected log-probabilities [frames, batch, classes]; got [3,4]',
    )
    expect(() => ctcLoss(x, ints([1, 1]), frames, lengths)).toThrow(/need targets \[2,longest\], padded; got \[2\]/)
    expect(() => ctcLoss(x, targets, ints([3]), lengths)).toThrow(/2 input lengths/)
    expect(() => ctcLoss(x, targets, frames, ints([[1, 1]]))).toThrow(/2 target lengths/)
    expect(() => ctcLoss(x.cast('float16'), targets, frames, lengths)).toThrow(
      expect.objectContaining({ code: 'ERR_DTYPE' }),
    )
    expect(() => ctcLoss(x, targets.cast('float32'), frames, lengths)).toThrow(/int32 or int64; got float32/)
    expect(() => ctcLoss(x, targets, frames, lengths, { blank: 2 })).toThrow(
      expect.objectContaining({ code: 'ERR_VALUE' }),
    )
  })

  test('labels and lengths out of range reject', async () => {
    await expect(ctcLoss(x, ints([[1], [2]]), frames, lengths).item()).rejects.toMatchObject({
      code: 'ERR_INDEX',
      message: expect.stringContaining('target 0 of sample 1 is 2; expected a class from 0 to 1 other than the blank'),
    })
    await expect(ctcLoss(x, ints([[0], [1]]), frames, lengths).item()).rejects.toThrow(/target 0 of sample 0 is 0/)
    await expect(ctcLoss(x, targets, ints([4, 3]), lengths).item()).rejects.toMatchObject({ code: 'ERR_VALUE' })
    await expect(ctcLoss(x, targets, frames, ints([1, -1])).item()).rejects.toThrow(
      /target length of sample 1 is -1; expected 0 to 1/,
    )
  })
})
