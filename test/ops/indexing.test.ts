import { arange, embedding, gradients, oneHot, ones, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'

const x = arange(12).reshape([3, 4])
const at = (...values: number[]) => tensor(values, { dtype: 'int64' })
const list = (t: Tensor) => Array.from(t.dataSync(), Number)

describe('index', () => {
  test('numbers, slices, new axes and the rest', async () => {
    const t = arange(24).reshape([2, 3, 4])
    expect(await t.index(1, -1, 2).item()).toBe(22)
    expect(await t.index('...', -1).toArray()).toEqual([
      [3, 7, 11],
      [15, 19, 23],
    ])
    expect(t.index(null, '...', null).shape).toEqual([1, 2, 3, 4, 1])
    expect(t.index({ start: -1 }, {}, { end: -1, step: 2 }).shape).toEqual([1, 3, 2])
    expect(list(t.index(0, { step: -1 }, 0))).toEqual([8, 4, 0])
    expect(t.index().shape).toEqual([2, 3, 4])
    expect(t.index(0, '...', 0, 0).shape).toEqual([])
  })

  test('a tensor of integers of any shape', () => {
    expect(list(x.index(at(2, 0), 1))).toEqual([9, 1])
    const both = tensor(
      [
        [0, 1, 2],
        [3, 3, 0],
      ],
      { dtype: 'int32' },
    )
    expect(x.index({ start: 1 }, both).shape).toEqual([2, 2, 3])
    expect(list(x.index(0, both))).toEqual([0, 1, 2, 3, 3, 0])
    expect(x.index(tensor(1, { dtype: 'int32' })).shape).toEqual([4])
  })

  test('gradients flow to what was picked', () => {
    const leaf = x.detach().requireGrad()
    const [g] = gradients([leaf.index(at(1, 1), { step: 3 }).sum()], [leaf])
    expect(list(g!)).toEqual([0, 0, 0, 0, 2, 0, 0, 2, 0, 0, 0, 0])
  })

  test('mistakes are errors', () => {
    expect(() => x.index(3)).toThrow('index: 3 is out of range for axis 0 of size 3; expected -3 to 2')
    expect(() => x.index(0, 0, 0)).toThrow('index: 3 items for a tensor with 2 axes, [3,4]')
    expect(() => x.index(0.5)).toThrow('item 0 must be an integer; got 0.5')
    expect(() => x.index({ step: 0 })).toThrow('has a step of 0')
    expect(() => x.index({ end: Number.NaN })).toThrow('must hold integers; got NaN')
    expect(() => x.index('...', '...')).toThrow("'...' may occur once")
    expect(() => x.index(at(0), at(1))).toThrow('at most one item may be a tensor')
    expect(() => x.index(x.greater(1))).toThrow('maskedSelect')
    expect(() => x.index(x)).toThrow('item 0 must be an int32 or int64 tensor; got float32')
    expect(() => x.index('1' as never)).toThrow('must be an integer, a slice')
  })
})

describe('selections whose size depends on values', () => {
  test('maskedSelect picks, broadcasts its mask, and has a gradient', async () => {
    const leaf = x.detach().requireGrad()
    const picked = await leaf.maskedSelect(x.greater(8))
    expect(list(picked)).toEqual([9, 10, 11])
    picked.mul(2).sum().backward()
    expect(list(leaf.grad!)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2])
    expect(list(await x.maskedSelect(tensor([true, false, false, true])))).toEqual([0, 3, 4, 7, 8, 11])
    expect((await x.maskedSelect(x.greater(100))).shape).toEqual([0])
    await expect(x.maskedSelect(x)).rejects.toMatchObject({ code: 'ERR_DTYPE' })
  })

  test('nonzero gives positions', async () => {
    expect(
      await tensor([
        [0, 5],
        [Number.NaN, 0],
      ])
        .nonzero()
        .then(t => t.toArray()),
    ).toEqual([
      [0n, 1n],
      [1n, 0n],
    ])
    const many = Uint8Array.from({ length: 300 * 170 }, (_, i) => Number((i * i) % 7 < 2))
    const found = await tensor(many, { shape: [300, 170] }).nonzero()
    const expected = Array.from(many.keys()).filter(i => many[i])
    expect(Array.from(await found.data(), Number)).toEqual(expected.flatMap(i => [Math.floor(i / 170), i % 170]))
    expect((await tensor(0).nonzero()).shape).toEqual([0, 0])
    expect((await tensor(7).nonzero()).shape).toEqual([1, 0])
  })
})

describe('an index out of range', () => {
  const cases: [string, () => Tensor, string][] = [
    [
      'indexSelect',
      () => x.indexSelect(at(0, 3), 0),
      'indexSelect: index 3 at position 1 is out of range for axis 0 of size 3; expected 0 to 2',
    ],
    [
      'negative',
      () => x.indexSelect(at(-1), 1),
      'indexSelect: index -1 at position 0 is out of range for axis 1 of size 4',
    ],
    ['gather', () => x.gather(at(4).reshape([1, 1]), 1), 'gather: index 4 at position 0'],
    ['scatter', () => x.scatter(at(9).reshape([1, 1]), 0, 0), 'scatter: index 9 at position 0'],
    ['scatterAdd', () => x.scatterAdd(at(-2).reshape([1, 1]), 1, 0), 'scatterAdd: index -2 at position 0'],
    ['indexAdd', () => x.indexAdd(at(3), ones([1, 4]), 0), 'indexAdd: index 3 at position 0'],
    [
      'embedding',
      () => embedding(x, at(0, 1, 7)),
      'embedding: index 7 at position 2 is out of range for axis 0 of size 3',
    ],
    ['take', () => x.take(at(12)), 'indexSelect: index 12 at position 0'],
    [
      'oneHot',
      () => oneHot(at(1, 2), 2),
      'oneHot: class 2 at position 1 is out of range for 2 classes; expected 0 to 1',
    ],
    ['far', () => x.indexSelect(tensor(new BigInt64Array([2n ** 62n])), 0), 'index 4611686018427387904'],
  ]
  for (const [name, run, message] of cases) {
    test(`${name}: rejects when read, and leaves the rest working`, async () => {
      await expect(run().data()).rejects.toMatchObject({ code: 'ERR_INDEX', message: expect.stringContaining(message) })
      expect(await x.sum().item()).toBe(66)
    })
  }
})

test('sums into rows do not depend on threads or on how the rows lie', () => {
  const index = tensor(Int32Array.from({ length: 4096 }, (_, i) => (i * 7919) % 13))
  for (const width of [1, 3, 64, 300]) {
    const source = ones([4096, width])
    const sums = list(tensor(new Float32Array(13 * width), { shape: [13, width] }).indexAdd(index, source, 0))
    const counts = Array.from(
      { length: 13 },
      (_, r) => Array.from(index.dataSync() as Int32Array).filter(v => v === r).length,
    )
    expect(sums).toEqual(counts.flatMap(n => Array(width).fill(n)))
    const across = list(
      tensor(new Float32Array(13 * width), { shape: [width, 13] }).indexAdd(index, source.transpose(0, 1), 1),
    )
    expect(across).toEqual(Array(width).fill(counts).flat())
  }
})

test('wrong shapes and dtypes are errors', () => {
  expect(() => x.indexSelect(x, 0)).toThrow(
    "indexSelect: index must be int32 or int64; got float32; convert it with cast('int64')",
  )
  expect(() => x.indexSelect(at(0).reshape([1, 1]), 0)).toThrow('indexSelect: index must have one axis; got [1,1]')
  expect(() => x.gather(at(0), 0)).toThrow('gather: x and index need equally many axes, at least 1: [3,4] and [1]')
  expect(() => x.gather(at(0, 0, 0, 0).reshape([4, 1]), 1)).toThrow(
    'gather: index [4,1] is larger than x [3,4] on axis 0',
  )
  expect(() => x.scatter(at(0).reshape([1, 1]), ones([2, 1]), 0)).toThrow('does not broadcast to index [1,1]')
  expect(() => x.scatter(at(0).reshape([1, 1]), at(1), 0)).toThrow(
    'scatter: source must have the dtype of x, float32; got int64',
  )
  expect(() => x.indexAdd(at(0), ones([2, 4]), 0)).toThrow('indexAdd: source must have the shape [1,4]; got [2,4]')
  expect(() => embedding(at(1), at(0))).toThrow('embedding: weight must have the shape [rows, size]; got [1]')
  expect(() => embedding(x, at(0), { paddingIndex: 3 })).toThrow('embedding: paddingIndex 3 is out of range for 3 rows')
  expect(() => x.maskedFill(x, 0)).toThrow('maskedFill: mask must be bool; got float32')
  expect(() => x.maskedFill(tensor([true, false]), 0)).toThrow('shapes do not broadcast')
  expect(() => oneHot(x, 3)).toThrow('oneHot: index must be int32 or int64; got float32')
  expect(() => oneHot(at(0), -1)).toThrow('oneHot: classes must be 0 or more; got -1')
})
