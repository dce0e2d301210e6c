import * as anneal from 'anneal'
import { compile, type ErrorCode, Parameter, type Tensor, tensor, zeros } from 'anneal'
import { describe, expect, test } from 'vitest'

/** Numbers between -1 and 1 that follow from `seed`. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state / 0x7fffffff) * 2 - 1
  }
}

const f = Math.fround
const even = (v: number) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v))

/** What a row of activations becomes: whole numbers, and what they are multiplied by. */
function levelsOf(row: ArrayLike<number>): { levels: number[]; scale: number } {
  const values = Array.from(row)
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)]
  const scale = f(f(high / 127) - f(low / 127))
  const inverse = scale > 0 ? f(1 / scale) : 0
  const zero = even(f(-low * inverse))
  return { scale, levels: values.map(v => Math.min(127, even(f(v * inverse)) + zero) - zero) }
}

interface Problem {
  readonly x: Float32Array
  readonly weight: Int8Array
  readonly scale: Float32Array
  readonly bias: Float32Array
}

/** The largest difference from sums that are exact, in parts of the largest value. */
function difference(got: ArrayLike<number>, [m, k, n]: readonly number[], p: Problem): number {
  let [worst, largest] = [0, 0]
  for (let i = 0; i < m!; i++) {
    const { levels, scale } = levelsOf(p.x.subarray(i * k!, (i + 1) * k!))
    for (let j = 0; j < n!; j++) {
      const sum = levels.reduce((total, level, at) => total + level * p.weight[j * k! + at]!, 0)
      const expected = sum * scale * p.scale[j]! + p.bias[j]!
      worst = Math.max(worst, Math.abs(got[i * n! + j]! - expected))
      largest = Math.max(largest, Math.abs(expected))
    }
  }
  return largest > 0 ? worst / largest : worst
}

function problem([m, k, n]: readonly number[], value: () => number, weight: () => number): Problem {
  const r = numbers(m! + k! + n!)
  return {
    x: Float32Array.from({ length: m! * k! }, value),
    weight: Int8Array.from({ length: n! * k! }, weight),
    scale: Float32Array.from({ length: n! }, () => 0.01 + Math.abs(r()) / 50),
    bias: Float32Array.from({ length: n! }, r),
  }
}

function tensorsOf([m, k, n]: readonly number[], p: Problem): [Tensor, Parameter, Parameter, Parameter] {
  const x = tensor(p.x, { shape: [m!, k!] })
  const weight = tensor(p.weight, { shape: [n!, k!] })
  return [x, new Parameter(weight), new Parameter(tensor(p.scale)), new Parameter(tensor(p.bias))]
}

const sizes = [
  [1, 1, 1],
  [1, 5, 1],
  [2, 32, 7],
  [3, 64, 4],
  [4, 33, 9],
  [1, 200, 33],
  [5, 3, 1],
  [7, 4, 33],
  [13, 37, 40],
  [5, 96, 16],
  [6, 97, 17],
  [64, 260, 64],
  [101, 100, 50],
  [300, 36, 3],
]

describe('sums of int8 products are exact', () => {
  const r = numbers(7)
  const kinds: [string, () => number, () => number][] = [
    ['numbers like those of networks', () => r() + r() + r(), () => Math.round(r() * r() * 127)],
    ['the largest weights, which no two quads share 16 bits with', () => r(), () => (r() > 0 ? 127 : -128)],
    ['the largest levels and weights', () => 1, () => -128],
    ['activations below zero', () => -Math.abs(r()), () => Math.round(r() * 127)],
    ['activations after a ReLU', () => Math.max(0, r()), () => Math.round(r() * 127)],
    ['activations that are all zero', () => 0, () => Math.round(r() * 127)],
  ]
  for (const [name, value, weight] of kinds) {
    test(`with ${name}, alone and captured`, async () => {
      for (const size of sizes) {
        const p = problem(size, value, weight)
        const [x, ...rest] = tensorsOf(size, p)
        const one = (await anneal.noGrad(() => anneal.quantizedLinear(x, ...rest)).data()) as Float32Array
        expect(difference(one, size, p), `${size}`).toBeLessThan(3e-7)
        const captured = compile((given: Tensor) => anneal.quantizedLinear(given, ...rest))
        expect(await anneal.noGrad(() => captured(x)).data(), `${size}, captured`).toEqual(one)
        captured.dispose()
      }
    })
  }
})

test('a convolution is the product of its patches', async () => {
  const r = numbers(3)
  const [n, h, w, c, out] = [2, 6, 5, 8, 33]
  const x = tensor(Float32Array.from({ length: n * h * w * c }, r), { shape: [n, h, w, c] })
  const weight = tensor(
    Int8Array.from({ length: out * 9 * c }, () => Math.round(r() * 127)),
    { shape: [out, 3, 3, c] },
  )
  const scale = tensor(Float32Array.from({ length: out }, () => 0.01))
  const y = await anneal.quantizedConv2d(x, weight, scale, undefined, { padding: 1 }).data()
  const [values, weights] = [await x.data(), await weight.data()]
  for (let i = 0; i < n; i++) {
    const { levels, scale: step } = levelsOf(values.subarray(i * h * w * c, (i + 1) * h * w * c) as Float32Array)
    for (const [row, column, o] of [
      [0, 0, 0],
      [5, 4, 32],
      [2, 3, 17],
    ] as const) {
      let sum = 0
      for (let a = 0; a < 3; a++)
        for (let b = 0; b < 3; b++)
          for (let k = 0; k < c; k++) {
            const [at, beside] = [row + a - 1, column + b - 1]
            if (at < 0 || at >= h || beside < 0 || beside >= w) continue
            sum += levels[(at * w + beside) * c + k]! * Number(weights[((o * 3 + a) * 3 + b) * c + k])
          }
      expect(y[((i * h + row) * w + column) * out + o]).toBeCloseTo(sum * step * 0.01, 4)
    }
  }
})

test('a result does not depend on the rows and images beside it', async () => {
  const r = numbers(5)
  const x = tensor(Float32Array.from({ length: 40 * 24 }, r), { shape: [40, 24] })
  const weight = tensor(
    Int8Array.from({ length: 10 * 24 }, () => Math.round(r() * 127)),
    { shape: [10, 24] },
  )
  const scale = tensor(new Float32Array(10).fill(0.01))
  const all = await anneal.quantizedLinear(x, weight, scale).data()
  const alone = await anneal.quantizedLinear(anneal.narrow(x, 0, 7, 1), weight, scale).data()
  expect(alone).toEqual(all.subarray(70, 80))
})

describe('what does not fit is refused', () => {
  const x = zeros([2, 4])
  const weight = zeros([3, 4], { dtype: 'int8' })
  const scale = anneal.ones([3])
  const refusals: [string, ErrorCode, RegExp, () => unknown][] = [
    [
      'a float weight',
      'ERR_DTYPE',
      /quantizedLinear: the weight must be int8; got float32; nn.quantize\(\)/,
      () => anneal.quantizedLinear(x, zeros([3, 4]), scale),
    ],
    [
      'integers to quantise',
      'ERR_DTYPE',
      /input must be of a floating-point dtype; got int32/,
      () => anneal.quantizedLinear(zeros([2, 4], { dtype: 'int32' }), weight, scale),
    ],
    [
      'other inner sizes',
      'ERR_SHAPE',
      /inner sizes differ: x \[2,5\], weight \[out, in\] \[3,4\]/,
      () => anneal.quantizedLinear(zeros([2, 5]), weight, scale),
    ],
    [
      'too few scales',
      'ERR_SHAPE',
      /the scale has one element for each output, \[3\]; got \[2\]/,
      () => anneal.quantizedLinear(x, weight, anneal.ones([2])),
    ],
    [
      'a bias of another size',
      'ERR_SHAPE',
      /the bias has one element for each output/,
      () => anneal.quantizedLinear(x, weight, scale, zeros([4])),
    ],
    [
      'sums that 32 bits do not hold',
      'ERR_VALUE',
      /200000 weights for each output are more than 132104.*in float/,
      () => anneal.quantizedLinear(zeros([1, 200000]), zeros([1, 200000], { dtype: 'int8' }), anneal.ones([1])),
    ],
    [
      'images without channels',
      'ERR_SHAPE',
      /quantizedConv2d: the input must have the axes/,
      () => anneal.quantizedConv2d(zeros([1, 4, 4]), zeros([1, 3, 3, 1], { dtype: 'int8' }), anneal.ones([1])),
    ],
    [
      'a kernel of another rank',
      'ERR_SHAPE',
      /the weight must have 4 axes/,
      () => anneal.quantizedConv2d(zeros([1, 4, 4, 1]), zeros([1, 3, 1], { dtype: 'int8' }), anneal.ones([1])),
    ],
  ]
  for (const [name, code, message, run] of refusals) {
    test(name, () => {
      expect(run).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }))
    })
  }

  test('a gradient', () => {
    const y = anneal.quantizedLinear(new Parameter(x), weight, scale)
    expect(() => y.sum().backward()).toThrow(/quantizedLinear: has no gradient/)
  })
})
