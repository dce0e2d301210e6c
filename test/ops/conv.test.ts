import * as anneal from 'anneal'
import { type ErrorCode, gradients, type Tensor, tensor, zeros } from 'anneal'
import { describe, expect, test } from 'vitest'
import '../support/device'
import { thrown } from '../support/thrown'

async function numbers(t: Tensor): Promise<number[]> {
  const out: number[] = []
  for (const v of await t.data()) out.push(Number(v))
  return out
}

describe('convolutions refuse what does not fit', () => {
  const x = zeros([1, 4, 4, 3])
  const w = zeros([2, 3, 3, 3])
  const refusals: [string, ErrorCode, RegExp, () => unknown][] = [
    [
      'a missing batch axis',
      'ERR_SHAPE',
      /conv2d: .*\[batch, height, width, channels\]; got \[4,4,3\]/,
      () => anneal.conv2d(zeros([4, 4, 3]), w),
    ],
    [
      'a weight of another rank',
      'ERR_SHAPE',
      /conv2d: the weight must have 4 axes/,
      () => anneal.conv2d(x, zeros([2, 3, 3])),
    ],
    [
      'other channels',
      'ERR_SHAPE',
      /for 2 input channels per group; the input has 3 channels in 1 group/,
      () => anneal.conv2d(x, zeros([2, 3, 3, 2])),
    ],
    [
      'groups that do not divide',
      'ERR_SHAPE',
      /groups = 2 must divide/,
      () => anneal.conv2d(x, w, null, { groups: 2 }),
    ],
    ['no groups', 'ERR_VALUE', /groups must be 1 or more; got 0/, () => anneal.conv2d(x, w, null, { groups: 0 })],
    [
      'a kernel larger than the input',
      'ERR_SHAPE',
      /kernel \[5,5\] with dilation \[1,1\] is larger than the padded input \[4,4\]/,
      () => anneal.conv2d(x, zeros([2, 5, 5, 3])),
    ],
    [
      'a dilated kernel larger than the input',
      'ERR_SHAPE',
      /larger than the padded input/,
      () => anneal.conv2d(x, w, null, { dilation: 3 }),
    ],
    ['an empty kernel', 'ERR_SHAPE', /kernel \[0,3\] is empty/, () => anneal.conv2d(x, zeros([2, 0, 3, 3]))],
    [
      'a stride of 0',
      'ERR_VALUE',
      /stride must be 1 or more; got \[0\]/,
      () => anneal.conv2d(x, w, null, { stride: 0 }),
    ],
    [
      'a stride per axis of three',
      'ERR_VALUE',
      /one number, or one for each of the 2 spatial axes; got \[1,1,1\]/,
      () => anneal.conv2d(x, w, null, { stride: [1, 1, 1] }),
    ],
    [
      'negative padding',
      'ERR_VALUE',
      /padding must be 0 or more; got \[-1\]/,
      () => anneal.conv2d(x, w, null, { padding: -1 }),
    ],
    ['integers', 'ERR_DTYPE', /floating-point/, () => anneal.conv2d(zeros([1, 4, 4, 3], { dtype: 'int32' }), w)],
    [
      'two dtypes',
      'ERR_DTYPE',
      /dtypes differ: the input is float32, the weight float64/,
      () => anneal.conv2d(x, w.cast('float64')),
    ],
    [
      'a bias of another size',
      'ERR_SHAPE',
      /bias must have the shape \[2\]; got \[3\]/,
      () => anneal.conv2d(x, w, zeros([3])),
    ],
    [
      'negative padding',
      'ERR_VALUE',
      /conv2d: padding must be 0 or more; got \[0,-1,0,0\]/,
      () => anneal.conv2d(x, w, null, { padding: [0, -1, 0, 0] }),
    ],
    [
      'too much outputPadding',
      'ERR_VALUE',
      /outputPadding must be smaller than stride or dilation/,
      () => anneal.convTranspose2d(x, zeros([3, 3, 3, 2]), null, { outputPadding: 1 }),
    ],
    [
      'a transposed weight that does not fit',
      'ERR_SHAPE',
      /does not fit the 3 input channels/,
      () => anneal.convTranspose2d(x, zeros([2, 3, 3, 2])),
    ],
    [
      'a transposed result of nothing',
      'ERR_SHAPE',
      /leaves nothing/,
      () => anneal.convTranspose1d(zeros([1, 1, 1]), zeros([1, 1, 1]), null, { padding: 1 }),
    ],
  ]
  for (const [what, code, message, run] of refusals) {
    test(what, () => {
      const error = thrown(run)
      expect(error.message).toMatch(message)
      expect(error.code).toBe(code)
    })
  }
})

test.each([
  ['few channels', [2, 16, 15, 8], [12, 3, 3, 8], 2],
  ['many channels', [4, 14, 14, 64], [32, 3, 3, 64], 1],
  ['many channels over strides', [4, 15, 14, 64], [48, 3, 3, 64], 2],
  ['single pixels', [8, 14, 14, 64], [128, 1, 1, 64], 1],
  ['squares of results that overlap the edge', [3, 13, 18, 32], [48, 3, 3, 32], 1],
] as const)(
  'gradients in float32 follow those in float64 where the work is large: %s',
  async (_, image, kernel, stride) => {
    anneal.manualSeed(6)
    const x = anneal.randomNormal(image)
    const w = anneal.randomNormal(kernel)
    const both = await Promise.all(
      (['float32', 'float64'] as const).map(async dtype => {
        const leaves = [x.cast(dtype).detach().requireGrad(), w.cast(dtype).detach().requireGrad()]
        const y = anneal.conv2d(leaves[0]!, leaves[1]!, null, { padding: (kernel[1] - 1) / 2, stride })
        const grads = gradients([y.mul(y).sum()], leaves)
        return Promise.all(grads.map(g => numbers(g!)))
      }),
    )
    for (const which of [0, 1]) {
      const [narrow, wide] = [both[0]![which]!, both[1]![which]!]
      const scale = Math.max(...wide.map(Math.abs))
      for (let i = 0; i < wide.length; i += 11) expect(Math.abs(narrow[i]! - wide[i]!) / scale).toBeLessThan(1e-5)
    }
  },
)

interface Sizes {
  image: readonly [number, number, number, number]
  kernel: readonly [number, number, number, number]
  stride: readonly [number, number]
  /** Before and after each axis. */
  padding: readonly [number, number, number, number]
  dilation: readonly [number, number]
}

/** The output and the gradients for `grad` by the definition; `grad` makes it from the output's size. */
function byDefinition(s: Sizes, x: number[], w: number[], grad: (size: number) => number[]) {
  const [n, h, width, channels] = s.image
  const [filters, kh, kw, each] = s.kernel
  const out = [0, 1].map(i => {
    const reach = s.image[i + 1]! + s.padding[2 * i]! + s.padding[2 * i + 1]!
    return Math.floor((reach - s.dilation[i]! * (s.kernel[i + 1]! - 1) - 1) / s.stride[i]!) + 1
  }) as [number, number]
  const y = new Array<number>(n * out[0] * out[1] * filters).fill(0)
  const g = grad(y.length)
  const dx = x.map(() => 0)
  const dw = w.map(() => 0)
  for (let at = 0; at < y.length; at++) {
    const filter = at % filters
    const first = Math.floor(filter / (filters / (channels / each))) * each
    const column = Math.floor(at / filters) % out[1]
    const row = Math.floor(at / filters / out[1]) % out[0]
    const image = Math.floor(at / filters / out[1] / out[0])
    for (let tap = 0; tap < kh * kw; tap++) {
      const i = row * s.stride[0] - s.padding[0] + Math.floor(tap / kw) * s.dilation[0]
      const j = column * s.stride[1] - s.padding[2] + (tap % kw) * s.dilation[1]
      if (i < 0 || j < 0 || i >= h || j >= width) continue
      for (let c = 0; c < each; c++) {
        const from = ((image * h + i) * width + j) * channels + first + c
        const by = (filter * kh * kw + tap) * each + c
        y[at]! += x[from]! * w[by]!
        dx[from]! += g[at]! * w[by]!
        dw[by]! += g[at]! * x[from]!
      }
    }
  }
  return { y, g, dx, dw }
}

const plain = { stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1] } as const
test.each<[string, Sizes]>([
  ['one group', { ...plain, image: [2, 7, 6, 35], kernel: [70, 3, 3, 35], stride: [2, 1] }],
  ['few input channels', { ...plain, image: [2, 17, 16, 3], kernel: [24, 3, 3, 3], stride: [2, 2] }],
  [
    'wide groups, dilated, unevenly padded',
    { image: [2, 9, 8, 40], kernel: [48, 3, 2, 20], stride: [2, 1], padding: [1, 2, 0, 1], dilation: [1, 2] },
  ],
  ['as many groups as channels', { ...plain, image: [2, 20, 19, 40], kernel: [40, 3, 3, 1] }],
  ['two filters for each channel', { ...plain, image: [1, 8, 7, 5], kernel: [10, 3, 3, 1], stride: [2, 3] }],
])('convolutions and their gradients follow the definition: %s', async (_, sizes) => {
  anneal.manualSeed(3)
  const x = anneal.randomNormal(sizes.image).requireGrad()
  const w = anneal.randomNormal(sizes.kernel).requireGrad()
  const { stride, padding, dilation } = sizes
  const options = { stride, padding, dilation, groups: sizes.image[3] / sizes.kernel[3] }
  const y = anneal.conv2d(x, w, null, options)
  const expected = byDefinition(sizes, await numbers(x), await numbers(w), size =>
    Array.from({ length: size }, (_, i) => Math.sin(i * 0.7)),
  )
  const [dx, dw] = gradients([y.mul(tensor(Float32Array.from(expected.g), { shape: y.shape })).sum()], [x, w])
  for (const [got, want] of [
    [y, expected.y],
    [dx!, expected.dx],
    [dw!, expected.dw],
  ] as const) {
    const values = await numbers(got)
    const scale = Math.max(...want.map(Math.abs))
    expect(values.length).toBe(want.length)
    expect(Math.max(...want.map((v, i) => Math.abs(v - values[i]!))) / scale).toBeLessThan(1e-5)
  }
})

test('a convolution over no input channels gives the bias', async () => {
  const y = anneal.conv1d(zeros([1, 3, 0]), zeros([2, 2, 0]), tensor([1, -2]))
  expect(await y.toArray()).toEqual([
    [
      [1, -2],
      [1, -2],
    ],
  ])
})

test('NaN reaches what its window touches, and nothing else', async () => {
  const x = tensor([0, 0, Number.NaN, 0, 0], { shape: [1, 5, 1] })
  const y = await numbers(anneal.conv1d(x, tensor([1, 1], { shape: [1, 2, 1] })))
  expect(y.map(v => Number.isNaN(v))).toEqual([false, true, true, false])
})

/** Values in [-1, 1) that look random and are always the same. */
const made = (shape: readonly number[]) =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => ((i * 7919) % 1009) / 504 - 1),
    { shape },
  )

const convolve = (x: Tensor, w: Tensor, b: Tensor | null, options: object) =>
  [anneal.conv1d, anneal.conv2d, anneal.conv3d][x.ndim - 3]!(x, w, b, options)

test.each([
  [[8, 15, 16, 65], [64, 3, 3, 65], { stride: 2, padding: 1 }],
  [[8, 8, 7, 256], [33, 3, 3, 256], { padding: 1 }],
  [[3, 9, 9, 128], [64, 3, 3, 128], { padding: 1 }],
  [[1, 9, 7, 64], [48, 3, 3, 64], { padding: 1 }],
  [[1, 7, 7, 320], [64, 3, 3, 320], { padding: 1 }],
  [[2, 24, 20, 16], [32, 3, 3, 16], {}],
  [[2, 23, 21, 32], [16, 3, 3, 32], { padding: 2 }],
  [[1, 17, 19, 32], [80, 3, 3, 32], { padding: [0, 2, 3, 0] }],
  [[16, 7, 7, 512], [32, 3, 3, 512], { padding: 1 }],
  [[40, 28, 28, 32], [32, 3, 3, 32], { padding: 1 }],
  [[2, 33, 31, 3], [17, 7, 7, 3], { stride: 2, padding: 3 }],
  [[2, 20, 21, 5], [100, 5, 3, 5], { stride: [1, 2], padding: [1, 0, 2, 1], dilation: [2, 1] }],
  [[2, 21, 20, 20], [8, 3, 3, 20], { padding: 2, dilation: 2 }],
  [[2, 14, 14, 64], [130, 1, 1, 64], { stride: 2 }],
  [[1, 2, 2, 4096], [32, 1, 1, 4096], {}],
  [[1, 3, 3, 700], [1, 3, 3, 700], {}],
  [[2, 100, 24], [24, 9, 24], { padding: 4 }],
  [[1, 6, 9, 8, 16], [16, 3, 3, 3, 16], { padding: 1 }],
  [[2, 3, 12, 12, 32], [32, 1, 3, 3, 32], { padding: [0, 1, 1] }],
])(
  'a large convolution of %j by %j and its gradients in float32 agree with float64: %j',
  async (inputs, weights, options) => {
    const leaves = [made(inputs), made(weights), made([weights[0]!])]
    const results = (dtype: 'float32' | 'float64') => {
      const [x, w, b] = leaves.map(leaf => leaf.cast(dtype).detach().requireGrad())
      const y = convolve(x!, w!, b!, options)
      return [y, ...gradients([y.mul(made(y.shape).cast(dtype)).sum()], [x!, w!])]
    }
    const got = results('float32')
    for (const [i, exact] of results('float64').entries()) {
      const difference = got[i]!.cast('float64').sub(exact!).abs().max()
      const sumsOfPixels = i === 2
      expect(await difference.div(exact!.abs().max()).item()).toBeLessThan(sumsOfPixels ? 5e-5 : 5e-6)
    }
  },
)

const large = [2, 12, 13, 32] as const
const small = [1, 9, 8, 32] as const // one that two by two results at once suit; there nothing overflows
test.each([
  ['infinity in the image', large, [1, 1], 'x', Number.POSITIVE_INFINITY],
  ['infinity in a small image', small, [1, 1], 'x', Number.POSITIVE_INFINITY],
  ['NaN in the image', large, [6, 9], 'x', Number.NaN],
  ['NaN in a small image', small, [6, 7], 'x', Number.NaN],
  ['numbers whose sums overflow', large, [3, 2], 'x', 3e38],
  ['infinity in the weight', large, [1, 1], 'w', Number.NEGATIVE_INFINITY],
  ['infinity in the weight for a small image', small, [1, 1], 'w', Number.NEGATIVE_INFINITY],
] as const)('%s reaches the same results as in float64', async (_, shape, [row, column], where, value) => {
  const spoiled = (t: Tensor) => {
    const values = t.dataSync() as Float32Array
    values[(row * t.shape[2]! + column) * t.shape[3]! + 5] = value
    return tensor(values, { shape: t.shape })
  }
  let [x, w] = [made(shape), made([32, 3, 3, 32])]
  if (where === 'x') x = spoiled(x)
  else w = spoiled(w)
  const results = (dtype: 'float32' | 'float64') => {
    const [image, weight] = [x.cast(dtype), w.cast(dtype).detach().requireGrad()]
    const y = anneal.conv2d(image, weight)
    return [y, ...gradients([y], [weight], { gradOutputs: [made(y.shape).cast(dtype)] })].map(t =>
      t!.cast('float32').data(),
    )
  }
  const got = await Promise.all(results('float32'))
  const exact = await Promise.all(results('float64'))
  for (const [which, expected] of exact.entries())
    for (let i = 0; i < expected.length; i++)
      if (Number.isFinite(expected[i]))
        expect(Math.abs(Number(got[which]![i]) - Number(expected[i]))).toBeLessThan(1e-3)
      else expect(got[which]![i]).toBe(expected[i])
})

test('convolutions do not depend on the number of threads', async () => {
  const before = anneal.getThreads()
  const x = made([24, 15, 14, 64])
  const weights = [made([64, 3, 3, 64]), made([40, 3, 3, 64])]
  const all: unknown[] = []
  try {
    for (const count of [1, 3, 9]) {
      anneal.setThreads(count)
      const results = weights.flatMap(weight => {
        const w = weight.detach().requireGrad()
        const y = anneal.conv2d(x, w, null, { padding: 1 })
        return [y, ...gradients([y], [w], { gradOutputs: [made(y.shape)] })]
      })
      all.push(await Promise.all(results.map(result => result!.data())))
    }
  } finally {
    anneal.setThreads(before)
  }
  expect(all[1]).toEqual(all[0])
  expect(all[2]).toEqual(all[0])
})
