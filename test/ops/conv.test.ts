import * as anneal from 'anneal'
import { type ErrorCode, gradients, type Tensor, tensor, zeros } from 'anneal'
import { describe, expect, test } from 'vitest'

function failure(run: () => unknown): { code: ErrorCode; message: string } {
  try {
    run()
  } catch (error) {
    return error as { code: ErrorCode; message: string }
  }
  throw new Error('expected an error')
}

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
      const error = failure(run)
      expect(error.message).toMatch(message)
      expect(error.code).toBe(code)
    })
  }
})

test('a large convolution equals the sum of small ones', async () => {
  const x = anneal.randomNormal([2, 24, 20, 16])
  const w = anneal.randomNormal([24, 3, 3, 16])
  const whole = await anneal.conv2d(x, w, null, { padding: 1 }).data()
  const wide = await anneal.conv2d(x.cast('float64'), w.cast('float64'), null, { padding: 1 }).data()
  for (let i = 0; i < whole.length; i += 37) expect(Number(whole[i])).toBeCloseTo(Number(wide[i]), 3)
})

test.each([
  ['few channels', [2, 16, 15, 8], [12, 3, 3, 8], 2],
  ['many channels', [4, 14, 14, 64], [32, 3, 3, 64], 1],
  ['many channels over strides', [4, 15, 14, 64], [48, 3, 3, 64], 2],
  ['single pixels', [8, 14, 14, 64], [128, 1, 1, 64], 1],
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

test.each([
  [[8, 15, 16, 65], [64, 3, 3, 65], { stride: 2, padding: 1 }],
  [[8, 8, 7, 256], [33, 3, 3, 256], { padding: 1 }],
  [[3, 9, 9, 128], [64, 3, 3, 128], { padding: 1 }],
])('a large convolution of %j by %j in float32 agrees with float64', async (inputs, weights, options) => {
  const made = (shape: number[]) =>
    tensor(
      Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => ((i * 7919) % 1009) / 504 - 1),
      { shape },
    )
  const [x, w, b] = [made(inputs), made(weights), made([weights[0]!])]
  const exact = x.cast('float64').conv2d(w.cast('float64'), b.cast('float64'), options)
  const difference = x.conv2d(w, b, options).cast('float64').sub(exact).abs().max()
  expect(await difference.div(exact.abs().max()).item()).toBeLessThan(1e-5)
})
