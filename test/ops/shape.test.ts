import { arange, chunk, concat, meshgrid, ones, pad, split, stack, type Tensor, tensor, zeros } from 'anneal'
import { describe, expect, test } from 'vitest'

const thrown = (f: () => unknown) => {
  try {
    f()
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    return `${code} ${message}`
  }
  return 'nothing'
}
const x = arange(24).reshape([2, 3, 4])
const list = (t: Tensor) => Array.from(t.dataSync(), Number)

describe('views', () => {
  test('compose without a mistake, however the memory lies', async () => {
    const y = x
      .transpose(0, 2)
      .slice([3, 0], [-9, 3], { steps: [-2, 2] })
      .flip({ axis: 2 })
      .flatten({ startAxis: 1 })
    expect(await y.toArray()).toEqual([
      [15, 3, 23, 11],
      [13, 1, 21, 9],
    ])
    expect(list(x.permute([2, 0, 1]).reshape([8, 3]).narrow(0, 1, 1))).toEqual([12, 16, 20])
    expect(list(x.index('...', 0).reshape([-1]).flip())).toEqual([20, 16, 12, 8, 4, 0])
  })

  test('that begin and end anywhere are copied right, in every width', () => {
    for (const dtype of ['float64', 'float32', 'bfloat16', 'uint8'] as const) {
      const x = arange(256, { dtype: 'int32' }).cast(dtype).reshape([4, 64])
      for (const from of [0, 1, 4, 8, 16])
        for (const size of [1, 4, 8, 15, 16, 32, 47]) {
          const part = list(x.narrow(1, from, size).contiguous())
          expect(part).toEqual([0, 64, 128, 192].flatMap(row => Array.from({ length: size }, (_, i) => row + from + i)))
        }
    }
  })

  test('of large tensors are copied right, in every width', () => {
    for (const dtype of ['float32', 'float64', 'uint8', 'bfloat16'] as const) {
      const rows = 131
      const columns = 203
      const big = arange(rows * columns)
        .cast('int32')
        .cast(dtype)
        .reshape([rows, columns])
      const straight = list(big)
      const turned = list(big.transpose(0, 1).contiguous())
      let wrong = 0
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < columns; j++) if (turned[j * rows + i] !== straight[i * columns + j]) wrong++
      expect(wrong, dtype).toBe(0)
    }
  })

  test('of images, between channels first and last', () => {
    const [n, h, w, c] = [2, 33, 70, 3]
    const image = arange(n * h * w * c).reshape([n, h, w, c])
    const planes = image.permute([0, 3, 1, 2]).contiguous()
    expect(list(planes.index(1, 2, 32, 69))).toEqual([n * h * w * c - 1])
    expect(list(planes.index(0, 1, 0, { end: 3 }))).toEqual([1, 4, 7])
    expect(list(planes.permute([0, 2, 3, 1]).contiguous())).toEqual(list(image))
  })

  test('of empty tensors and scalars', () => {
    expect(zeros([0, 3]).transpose(0, 1).contiguous().shape).toEqual([3, 0])
    expect(zeros([2, 0]).slice([0, 0], [1, 5]).shape).toEqual([1, 0])
    expect(zeros([0]).flip().shape).toEqual([0])
    expect(tensor(3).flip().dataSync()[0]).toBe(3)
    expect(tensor(3).flatten().shape).toEqual([1])
    expect(concat([zeros([0, 2]), ones([1, 2])]).shape).toEqual([1, 2])
    expect(x.slice([0], [9], { steps: [-1] }).shape).toEqual([0, 3, 4])
  })

  test('far bounds of slices are clamped', () => {
    expect(x.slice([-1e15], [1e15], { axes: [2], steps: [1e15] }).shape).toEqual([2, 3, 1])
    expect(list(arange(4).slice([3], [Number.MIN_SAFE_INTEGER], { steps: [-1] }))).toEqual([3, 2, 1, 0])
  })
})

describe('joins', () => {
  test('of views and mixed dtypes', () => {
    const joined = concat([x.transpose(1, 2), x.transpose(1, 2).cast('int32')], { axis: -1 })
    expect(joined.dtype).toBe('float32')
    expect(list(joined.index(1, 3))).toEqual([15, 19, 23, 15, 19, 23])
  })

  test('undo what split and chunk did', () => {
    for (const parts of [split(x, 3, { axis: 2 }), split(x, [1, 3], { axis: -1 }), chunk(x, 3, { axis: 2 })]) {
      expect(list(concat(parts, { axis: 2 }))).toEqual(list(x))
    }
    expect(list(stack(x.unstack({ axis: 1 }), { axis: 1 }))).toEqual(list(x))
  })

  test('a part that nothing flows back to gets zeros', () => {
    const leaf = arange(4).requireGrad()
    split(leaf, 2)[1]!.sum().backward()
    expect(list(leaf.grad!)).toEqual([0, 0, 1, 1])
  })
})

test('errors say what came and what was expected', () => {
  const y = tensor([1, 2])
  expect(thrown(() => x.reshape([5, 5]))).toBe('ERR_SHAPE reshape: [2,3,4] has 24 elements, [5,5] has 25')
  expect(thrown(() => x.reshape([2 ** 52, 2 ** 52, -1]))).toMatch(/^ERR_SHAPE reshape: shape .* has too many elements/)
  expect(thrown(() => x.transpose(0, 3))).toBe('ERR_INDEX transpose: axis 3 is out of range for a tensor with 3 axes')
  expect(thrown(() => x.permute([0, 0, 1]))).toBe('ERR_VALUE permute: axis 0 is given twice')
  expect(thrown(() => x.squeeze({ axis: 1 }))).toBe(
    'ERR_SHAPE squeeze: axis 1 of [2,3,4] has size 3; only axes of size 1 can be dropped',
  )
  expect(thrown(() => x.flatten({ startAxis: 2, endAxis: 0 }))).toMatch(/^ERR_VALUE flatten: startAxis 2 comes after/)
  expect(thrown(() => x.slice([0], [1], { steps: [0] }))).toMatch(/^ERR_VALUE slice: the step of axis 0 is 0/)
  expect(thrown(() => x.slice([0, 0], [1]))).toMatch(
    /^ERR_VALUE slice: starts, ends, steps and axes must be equally long/,
  )
  expect(thrown(() => y.slice([0, 0], [1, 1]))).toMatch(/^ERR_SHAPE slice: 2 slices for a tensor with 1 axes/)
  expect(thrown(() => y.narrow(0, 1, 2))).toBe('ERR_INDEX narrow: 2 elements from 1 on are not inside axis 0 of [2]')
  expect(thrown(() => y.split([1, 2]))).toMatch(/^ERR_SHAPE split: the sizes \[1,2\] add up to 3/)
  expect(thrown(() => y.split(0))).toBe('ERR_VALUE split: the size of a part must be 1 or more; got 0')
  expect(thrown(() => y.chunk(0))).toBe('ERR_VALUE chunk: parts must be 1 or more; got 0')
  expect(thrown(() => x.diagonal({ axisA: 1, axisB: -2 }))).toBe(
    'ERR_VALUE diagonal: axisA and axisB are the same axis, 1',
  )
  expect(thrown(() => concat([]))).toBe('ERR_VALUE concat: expected at least one tensor')
  expect(thrown(() => concat([x, y]))).toBe(
    'ERR_SHAPE concat: shapes must agree but for axis 0: [2,3,4] and, at position 1, [2]',
  )
  expect(thrown(() => concat([tensor(1), tensor(2)]))).toMatch(/^ERR_SHAPE concat: scalars have no axis/)
  expect(thrown(() => stack([y, x]))).toMatch(
    /^ERR_SHAPE stack: shapes must be equal: \[2\] and, at position 1, \[2,3,4\]/,
  )
  expect(thrown(() => pad(y, [1]))).toMatch(/^ERR_SHAPE pad: \[2\] needs 2 numbers/)
  expect(thrown(() => pad(y, [2, 0], { mode: 'reflect' }))).toMatch(
    /^ERR_SHAPE pad: the padding \[2,0\] is too large for axis 0/,
  )
  expect(thrown(() => pad(y, [-1, 0], { mode: 'edge' }))).toMatch(/^ERR_VALUE pad: only the mode 'constant'/)
  expect(thrown(() => pad(y, [-2, -1]))).toMatch(/^ERR_SHAPE pad: the padding \[-2,-1\] leaves axis 0/)
  expect(thrown(() => y.roll([1, 2]))).toMatch(/^ERR_VALUE roll: without an axis there is one shift/)
  expect(thrown(() => y.tile([-1]))).toBe('ERR_VALUE tile: expected a count of 0 or more; got -1')
  expect(thrown(() => y.repeat(-1))).toBe('ERR_VALUE repeat: expected a count of 0 or more; got -1')
  expect(
    thrown(() =>
      ones([1])
        .broadcastTo([2 ** 20])
        .repeat(2 ** 53),
    ),
  ).toMatch(/^ERR_SHAPE repeat: .* has too many elements/)
  expect(thrown(() => y.tril())).toMatch(/^ERR_SHAPE tril: expected at least two axes/)
  expect(thrown(() => meshgrid([x]))).toMatch(/^ERR_SHAPE meshgrid: expected tensors with one axis/)
})
