import * as anneal from 'anneal'
import { type ErrorCode, type Tensor, tensor, zeros } from 'anneal'
import { describe, expect, test } from 'vitest'

const x = zeros([1, 4, 4, 3])

describe('pooling, resizing and normalisation refuse what does not fit', () => {
  const refusals: [string, ErrorCode, RegExp, () => unknown][] = [
    [
      'too few axes',
      'ERR_SHAPE',
      /maxPool2d: .*\[batch, height, width, channels\]; got \[4,3\]/,
      () => anneal.maxPool2d(zeros([4, 3]), 2),
    ],
    [
      'padding of more than half a window',
      'ERR_VALUE',
      /at most half of the window/,
      () => anneal.maxPool2d(x, 2, { padding: 2 }),
    ],
    [
      'a window larger than the input',
      'ERR_SHAPE',
      /averagePool2d: the window \[5,5\] .* is larger than the input \[4,4\]/,
      () => anneal.averagePool2d(x, 5),
    ],
    ['a kernel of 0', 'ERR_VALUE', /kernel must be 1 or more; got \[0\]/, () => anneal.maxPool2d(x, 0)],
    ['the maximum of bool', 'ERR_DTYPE', /bool has no order/, () => anneal.maxPool2d(x.cast('bool'), 2)],
    ['the average of integers', 'ERR_DTYPE', /floating-point/, () => anneal.averagePool2d(x.cast('int32'), 2)],
    ['an adaptive size of 0', 'ERR_VALUE', /size must be 1 or more/, () => anneal.adaptiveAveragePool2d(x, 0)],
    ['an empty axis', 'ERR_SHAPE', /empty spatial axis/, () => anneal.adaptiveMaxPool2d(zeros([1, 0, 4, 3]), 1)],
    [
      'a global pool without spatial axes',
      'ERR_SHAPE',
      /one to three spatial axes/,
      () => anneal.globalAveragePool(zeros([2, 3])),
    ],
    ['neither size nor scale', 'ERR_VALUE', /either size or scale/, () => anneal.resize(x)],
    ['both size and scale', 'ERR_VALUE', /either size or scale/, () => anneal.resize(x, { size: 2, scale: 2 })],
    ['a scale to nothing', 'ERR_VALUE', /the result needs 1 or more/, () => anneal.resize(x, { scale: 0.1 })],
    ['a scale of NaN', 'ERR_VALUE', /the result needs 1 or more/, () => anneal.resize(x, { scale: Number.NaN })],
    [
      'alignCorners with nearest',
      'ERR_VALUE',
      /alignCorners needs a linear mode/,
      () => anneal.resize(x, { size: 2, alignCorners: true }),
    ],
    [
      'a mode for other axes',
      'ERR_VALUE',
      /'trilinear' does not fit an input with 2/,
      () => anneal.resize(x, { size: 2, mode: 'trilinear' }),
    ],
    [
      'one value per channel',
      'ERR_SHAPE',
      /more than one value per channel/,
      () => anneal.batchNormTrain(zeros([1, 3])),
    ],
    ['groups that do not divide', 'ERR_VALUE', /groups = 2 must divide the 3 channels/, () => anneal.groupNorm(x, 2)],
    [
      'a weight of another size',
      'ERR_SHAPE',
      /layerNorm: weight must have the shape \[3\]; got \[4\]/,
      () => anneal.layerNorm(x, zeros([4])),
    ],
    [
      'more axes than there are',
      'ERR_VALUE',
      /axes must be 1 to 4 .* got 5/,
      () => anneal.rmsNorm(x, null, { axes: 5 }),
    ],
    [
      'statistics of another size',
      'ERR_SHAPE',
      /variance must have the shape \[3\]/,
      () => anneal.batchNorm(x, zeros([3]), zeros([1])),
    ],
    ['integers', 'ERR_DTYPE', /floating-point/, () => anneal.layerNorm(x.cast('int64'))],
  ]
  for (const [what, code, message, run] of refusals) {
    test(what, () => expect(run).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) })))
  }
})

test('pooling gives the same with and without a gradient to come', async () => {
  const given = anneal.randomNormal([2, 9, 8, 5])
  const options = { stride: 2, padding: 1 }
  const [plain, recorded] = [
    anneal.maxPool2d(given, 3, options),
    anneal.maxPool2d(given.detach().requireGrad(), 3, options),
  ]
  expect(await recorded.data()).toEqual(await plain.data())
})

test('a constant stays constant under every resize', async () => {
  const constant = anneal.full([1, 5, 7, 2], 3)
  for (const mode of ['nearest', 'bilinear'] as const) {
    const y = await anneal.resize(constant, { size: [11, 3], mode }).data()
    for (const v of y) expect(v).toBeCloseTo(3, 6)
  }
})

test('large batches are normalised to mean 0 and variance 1, far from zero too', async () => {
  anneal.manualSeed(4)
  const given = anneal.randomNormal([64, 12, 11, 3]).add(1000) // whose last place is 6e-5
  const [y, mean] = anneal.batchNormTrain(given, null, null, { eps: 0 })
  const values = await y.data()
  const sums = [0, 0, 0]
  const squares = [0, 0, 0]
  values.forEach((v: number | bigint, i: number) => {
    sums[i % 3]! += Number(v)
    squares[i % 3]! += Number(v) ** 2
  })
  const count = values.length / 3
  for (const c of [0, 1, 2]) {
    expect(sums[c]! / count).toBeCloseTo(0, 3)
    expect(squares[c]! / count).toBeCloseTo(1, 3)
  }
  for (const m of await mean.data()) expect(Number(m)).toBeGreaterThan(999)
})

test('layerNorm of a constant row is its bias', async () => {
  const y = anneal.layerNorm(anneal.full([2, 3], 7), tensor([1, 2, 3]), tensor([4, 5, 6]))
  expect(await y.toArray()).toEqual([
    [4, 5, 6],
    [4, 5, 6],
  ])
})

test('the maximum of a window with NaN is NaN, in every channel', async () => {
  const values = Float32Array.from({ length: 2 * 2 * 19 }, (_, i) => (i < 19 || i === 40 ? Number.NaN : i))
  expect(
    await tensor(values, { shape: [1, 2, 2, 19] })
      .maxPool2d(2)
      .flatten()
      .toArray(),
  ).toEqual(Array(19).fill(Number.NaN))
})

test('linear resizing of many channels agrees with the interpolation of each', async () => {
  const x = tensor(
    Float32Array.from({ length: 2 * 3 * 5 * 37 }, (_, i) => (i * 389) % 101),
    { shape: [2, 3, 5, 37] },
  )
  const all = await x.resize({ size: [7, 4], mode: 'linear' }).data()
  for (const c of [0, 7, 31, 32, 36]) {
    const one = await x
      .narrow(3, c, 1)
      .resize({ size: [7, 4], mode: 'linear' })
      .data()
    expect(Array.from(one, Number)).toEqual(Array.from({ length: one.length }, (_, i) => all[i * 37 + c]))
  }
})

describe('windows of 16 channels, wherever these begin in memory, give what they give of each', () => {
  type Windows = (x: Tensor) => Tensor
  const cases: Record<string, Windows> = {
    'the largest': x => x.maxPool2d(3, { stride: 2, padding: 1 }),
    'the average': x => x.averagePool2d(3, { stride: 2, padding: 1 }),
    'of adaptive windows': x => x.adaptiveAveragePool2d([2, 3]),
    'between pixels': x => x.resize({ size: [9, 4], mode: 'linear' }),
  }
  /** The results, and the gradients of their sum weighted by place. */
  const both = async (windows: Windows, given: Tensor) => {
    const x = given.detach().requireGrad()
    const y = windows(x)
    const [, height, width] = y.shape as [number, number, number, number]
    const weights = anneal.arange(1, height * width + 1).reshape([1, height, width, 1])
    y.mul(weights.cast(y.dtype)).sum().backward()
    return [y, x.grad!]
  }
  for (const dtype of ['float32', 'float64', 'float16', 'bfloat16'] as const) {
    for (const [name, windows] of Object.entries(cases)) {
      test(`${name}, in ${dtype}`, async () => {
        anneal.manualSeed(3)
        const shape = [2, 7, 6, 16]
        const size = 2 * 7 * 6 * 16
        const all = anneal.randomNormal([size + 1]).cast(dtype)
        for (const first of [0, 1]) {
          const some = all.slice([first], [first + size]).reshape(shape)
          const together = await both(windows, some)
          const apart = await Promise.all(Array.from({ length: 16 }, (_, c) => both(windows, some.narrow(3, c, 1))))
          for (const k of [0, 1]) {
            const each = anneal.concat(
              apart.map(results => results[k]!),
              { axis: 3 },
            )
            expect(await together[k]!.cast('float64').data()).toEqual(await each.cast('float64').data())
          }
        }
      })
    }
  }
})
