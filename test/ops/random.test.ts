import {
  arange,
  bernoulli,
  compile,
  dropout,
  getThreads,
  gradients,
  manualSeed,
  ones,
  permutation,
  randomInt,
  randomNormal,
  randomState,
  randomUniform,
  setRandomState,
  setThreads,
  type Tensor,
  tensor,
  truncatedNormal,
  zeros,
} from 'anneal'
import { beforeEach, describe, expect, test } from 'vitest'
import { codeOf } from '../support/thrown'

const count = 200_000
const numbers = async (t: Tensor) => Array.from(await t.data(), Number)
const key = (seed: bigint, offset: bigint) => tensor(new BigInt64Array([seed, offset]))

function moments(values: readonly number[]) {
  const mean = values.reduce((s, v) => s + v, 0) / values.length
  const variance = values.reduce((s, v) => s + (v - mean) ** 2, 0) / values.length
  return { mean, variance }
}

/** The Kolmogorov-Smirnov distance to a distribution function, times the root of the count: below 1.95 with 99.9 %. */
function distance(values: readonly number[], distribution: (x: number) => number): number {
  const sorted = Float64Array.from(values).sort()
  const n = sorted.length
  let worst = 0
  sorted.forEach((v, i) => {
    const p = distribution(v)
    worst = Math.max(worst, p - i / n, (i + 1) / n - p)
  })
  return worst * Math.sqrt(n)
}

/** The standard normal distribution function, by Simpson's rule over the density. */
function normalBelow(x: number): number {
  const steps = 60
  const h = x / steps
  const density = (t: number) => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI)
  let sum = density(0) + density(x)
  for (let i = 1; i < steps; i++) sum += density(i * h) * (i % 2 ? 4 : 2)
  return 0.5 + (sum * h) / 3
}

beforeEach(() => manualSeed(42))

test('the bits are those of Philox 4x32-10', async () => {
  // The known answer for counter 0 under key 0, as published with the Random123 library.
  const words = (await numbers(randomUniform([4], { dtype: 'float64', key: key(0n, 0n) }))).map(v =>
    Math.floor(v * 2 ** 32),
  )
  expect(words).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
})

describe('keys', () => {
  test('the same seed gives the same numbers, and each call new ones', async () => {
    const first = [await numbers(randomNormal([5])), await numbers(randomNormal([5]))]
    manualSeed(42)
    const again = [await numbers(randomNormal([5])), await numbers(randomNormal([5]))]
    expect(again).toEqual(first)
    expect(first[0]).not.toEqual(first[1])
    manualSeed(43)
    expect(await numbers(randomNormal([5]))).not.toEqual(first[0])
  })

  test('the state goes on from where it was', async () => {
    const state = randomState()
    const before = await numbers(randomUniform([7]))
    expect(randomState()[1]).toBe(state[1] + 2)
    setRandomState(state)
    expect(await numbers(randomUniform([7]))).toEqual(before)
  })

  test('a state that randomState() cannot have given is refused', () => {
    const before = randomState()
    for (const bad of [[Number.NaN, 'x'], [1, 1e300], [1], [1, -4], undefined, null, 'ab', { 0: 1, 1: 2 }]) {
      expect(() => setRandomState(bad as never)).toThrow(
        'setRandomState: expected what randomState() gave, [seed, offset]: two integers, the offset 0 or more; got ',
      )
      expect(codeOf(() => setRandomState(bad as never))).toBe('ERR_VALUE')
    }
    expect(randomState()).toEqual(before)
  })

  test('one call gives what several in a row give', async () => {
    const whole = await numbers(randomUniform([16], { key: key(9n, 0n) }))
    expect(await numbers(randomUniform([8], { key: key(9n, 2n) }))).toEqual(whole.slice(8))
  })

  test('that are not two int64 are refused', () => {
    const message = (op: string, got: string) => `${op}: key must be int64[2], a seed and an offset; got ${got}`
    const k = tensor(true)
    expect(() => randomUniform([2], { key: k })).toThrow(message('randomUniform', 'bool[]'))
    expect(() => randomNormal([2], { key: true as never })).toThrow(message('randomNormal', 'bool[]'))
    expect(() => truncatedNormal([2], { key: zeros([0], { dtype: 'int64' }) })).toThrow('got int64[0]')
    expect(() => randomInt([2], 0, 3, { key: zeros([1, 2], { dtype: 'int64' }) })).toThrow('got int64[1,2]')
    expect(() => bernoulli([2], { key: zeros([2]) })).toThrow('got float32[2]')
    expect(() => permutation(2, { key: k })).toThrow(message('permutation', 'bool[]'))
    expect(() => ones([4]).dropout({ key: tensor([1]) })).toThrow(message('dropout', 'float32[1]'))
    expect(() => compile((x: Tensor) => x.dropout({ key: x }))(ones([4]))).toThrow(message('dropout', 'float32[4]'))
    expect(codeOf(() => randomUniform([2], { key: k }))).toBe('ERR_VALUE')
  })

  test('the number of threads changes nothing', async () => {
    const before = getThreads()
    const draw = async () => {
      const k = key(7n, 3n)
      const many = [
        randomUniform([count], { key: k }),
        randomNormal([count + 1], { key: k, dtype: 'float64' }),
        randomInt([count], 0, 1000, { key: k }),
        permutation(20_000, { key: k }),
        dropout(ones([count]), { key: k }),
      ]
      return Promise.all(many.map(numbers))
    }
    try {
      setThreads(1)
      const single = await draw()
      setThreads(4)
      expect(await draw()).toEqual(single)
    } finally {
      setThreads(before)
    }
  })
})

describe('distributions', () => {
  for (const dtype of ['float32', 'float64'] as const) {
    test(`uniform, ${dtype}`, async () => {
      const values = await numbers(randomUniform([count], { low: -2, high: 3, dtype }))
      const { mean, variance } = moments(values)
      expect(Math.abs(mean - 0.5)).toBeLessThan(0.015)
      expect(Math.abs(variance - 25 / 12)).toBeLessThan(0.02)
      expect(distance(values, x => (x + 2) / 5)).toBeLessThan(1.95)
    })

    test(`normal, ${dtype}`, async () => {
      const values = await numbers(randomNormal([count], { mean: 1, std: 2, dtype }))
      const { mean, variance } = moments(values)
      expect(Math.abs(mean - 1)).toBeLessThan(0.02)
      expect(Math.abs(variance - 4)).toBeLessThan(0.06)
      expect(distance(values, x => normalBelow((x - 1) / 2))).toBeLessThan(1.95)
      const neighbours = values.slice(1).reduce((s, v, i) => s + (v - 1) * (values[i]! - 1), 0) / count / 4
      expect(Math.abs(neighbours)).toBeLessThan(0.01)
    })

    test(`truncated normal, ${dtype}`, async () => {
      const [low, high] = [-0.5, 3]
      const values = await numbers(truncatedNormal([count], { mean: 1, std: 2, low, high, dtype }))
      const [from, to] = [normalBelow((low - 1) / 2), normalBelow((high - 1) / 2)]
      expect(values.every(v => v >= low && v <= high)).toBe(true)
      expect(distance(values, x => (normalBelow((x - 1) / 2) - from) / (to - from))).toBeLessThan(1.95)
    })
  }

  test('16-bit uniform numbers never reach the upper bound', async () => {
    for (const dtype of ['float16', 'bfloat16'] as const) {
      const values = await numbers(randomUniform([count], { dtype }))
      expect(values.every(v => v >= 0 && v < 1)).toBe(true)
      expect(Math.abs(moments(values).mean - 0.5)).toBeLessThan(0.01)
    }
  })

  test('nor do they where the bounds are far from 0', async () => {
    for (const dtype of ['float16', 'bfloat16'] as const) {
      const values = await numbers(randomUniform([count], { low: 2, high: 3, dtype }))
      expect(values.every(v => v >= 2 && v < 3)).toBe(true)
    }
  })

  test('the tails of the truncated normal mirror each other', async () => {
    for (const dtype of ['float32', 'float64'] as const) {
      for (const at of [3, 8, 9, 30]) {
        const given = { dtype, key: key(5n, 0n) }
        const upper = await numbers(truncatedNormal([1000], { low: at, high: Infinity, ...given }))
        const lower = await numbers(truncatedNormal([1000], { low: -Infinity, high: -at, ...given }))
        expect(upper.every((v, i) => v === -lower[i]!)).toBe(true)
        expect(upper.every(v => v >= at && v < at + 20 / at)).toBe(true)
        expect(new Set(upper).size).toBeGreaterThan(900)
      }
    }
    expect(() => truncatedNormal([1], { low: 40, high: 50 })).toThrow(
      'truncatedNormal: low 40 to high 50 is too far from the mean 0 with std 1: the probability of all of it is 0',
    )
  })

  test('a far tail of the truncated normal is reached', async () => {
    const values = await numbers(truncatedNormal([1000], { low: 4, high: 5, dtype: 'float64' }))
    expect(values.every(v => v >= 4 && v <= 5)).toBe(true)
    expect(moments(values).mean).toBeCloseTo(4.2256, 1)
  })

  test('bernoulli', async () => {
    expect(Math.abs(moments(await numbers(bernoulli([count], { p: 0.3 }))).mean - 0.3)).toBeLessThan(0.005)
    expect(new Set(await numbers(bernoulli([1000], { p: 0, dtype: 'bool' })))).toEqual(new Set([0]))
    expect(new Set(await numbers(bernoulli([1000], { p: 1, dtype: 'int32' })))).toEqual(new Set([1]))
  })

  test('integers', async () => {
    const values = await numbers(randomInt([count], -3, 4))
    const tally = new Map<number, number>()
    for (const v of values) tally.set(v, (tally.get(v) ?? 0) + 1)
    expect([...tally.keys()].sort((a, b) => a - b)).toEqual([-3, -2, -1, 0, 1, 2, 3])
    const expected = count / 7
    const chi = [...tally.values()].reduce((s, n) => s + (n - expected) ** 2 / expected, 0)
    expect(chi).toBeLessThan(22.5) // 6 degrees of freedom, 99.9 %
    expect(moments(await numbers(randomInt([count], 0, 2 ** 40))).mean / 2 ** 39).toBeCloseTo(1, 1)
  })

  test('a permutation holds every integer once, wherever', async () => {
    const values = await numbers(permutation(1000))
    expect([...values].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i))
    expect(values.filter((v, i) => v === i).length).toBeLessThan(10)
    expect(await numbers(permutation(0))).toEqual([])
  })

  test.each([513, 5000, 300_000])('a permutation of %i', async n => {
    const values = BigInt64Array.from((await permutation(n).data()) as BigInt64Array)
    expect(values.sort().every((v, i) => v === BigInt(i))).toBe(true)
  })

  test('each element is as likely to come first in a permutation', async () => {
    const firsts = [0, 0, 0, 0]
    for (let i = 0; i < 2000; i++) firsts[Number(permutation(4).dataSync()[0])]!++
    for (const n of firsts) expect(Math.abs(n - 500)).toBeLessThan(75)
  })
})

describe('dropout', () => {
  test('drops with probability p and scales what is left', async () => {
    const values = await numbers(dropout(ones([count]), { p: 0.25 }))
    const kept = values.filter(v => v !== 0)
    expect(Math.abs(kept.length / count - 0.75)).toBeLessThan(0.005)
    expect(new Set(kept)).toEqual(new Set([Math.fround(1 / 0.75)]))
  })

  test('the gradient has the mask of the forward pass, and so has the gradient of a gradient', async () => {
    const x = arange(1, 1001).requireGrad()
    const y = x.dropout({ p: 0.4 })
    const mask = (await numbers(y)).map(v => Number(v !== 0))
    const seed = ones([1000]).requireGrad()
    const [g] = gradients([y], [x], { gradOutputs: [seed], createGraph: true })
    expect((await numbers(g!)).map(v => Number(v !== 0))).toEqual(mask)
    const [again] = gradients([g!], [seed], { gradOutputs: [arange(1, 1001)] })
    expect((await numbers(again!)).map(v => Number(v !== 0))).toEqual(mask)
  })

  test('is the identity when not training or with p = 0, and nothing is left with p = 1', async () => {
    const x = tensor([1, 2, 3])
    expect(await numbers(x.dropout({ training: false }))).toEqual([1, 2, 3])
    expect(await numbers(x.dropout({ p: 0 }))).toEqual([1, 2, 3])
    expect(await numbers(x.dropout({ p: 1 }))).toEqual([0, 0, 0])
  })

  test('works on 16-bit floats and on views', async () => {
    const x = ones([4, 6], { dtype: 'bfloat16' }).transpose(0, 1)
    const values = await numbers(x.dropout({ p: 0.5 }))
    expect(values.every(v => v === 0 || v === 2)).toBe(true)
  })
})

test('bad arguments are errors', () => {
  expect(() => randomUniform([2], { dtype: 'int32' })).toThrow(
    'randomUniform: dtype must be a floating-point type; got int32',
  )
  expect(() => randomUniform([2], { low: 1, high: 0 })).toThrow('randomUniform: low must be at most high; got 1 and 0')
  expect(() => randomNormal([2], { std: -1 })).toThrow('randomNormal: std must be 0 or more; got -1')
  expect(() => truncatedNormal([2], { low: 1, high: 1 })).toThrow('truncatedNormal: low must be less than high')
  expect(() => bernoulli([2], { p: 1.5 })).toThrow('bernoulli: p must be from 0 to 1; got 1.5')
  expect(() => randomInt([2], 5, 5)).toThrow('randomInt: low must be less than high; got 5 and 5')
  expect(() => randomInt([3], 0, 1000, { dtype: 'int8' })).toThrow('randomInt: int8 holds -128 to 127; got 0 to 999')
  expect(() => randomInt([3], -1, 3, { dtype: 'uint8' })).toThrow('randomInt: uint8 holds 0 to 255; got -1 to 2')
  expect(() => randomInt([3], 0, 3, { dtype: 'bool' })).toThrow('randomInt: bool holds 0 to 1; got 0 to 2')
  expect(randomInt([3], -128, 128, { dtype: 'int8' }).dtype).toBe('int8')
  expect(() => permutation(300, { dtype: 'uint8' })).toThrow('permutation: uint8 holds 0 to 255; got 0 to 299')
  expect(() => permutation(-1)).toThrow('permutation: size must be 0 or more; got -1')
  expect(() => dropout(tensor([1]), { p: Number.NaN })).toThrow('dropout: p must be from 0 to 1')
  expect(() => randomUniform([-1])).toThrow('sizes must be 0 or more')
})
