import { full, manualSeed, Parameter } from 'anneal'
import { init } from 'anneal/nn'
import { beforeEach, describe, expect, test } from 'vitest'

const parameter = (...shape: number[]) => new Parameter(full(shape, 7))

async function statistics(p: Parameter) {
  const values = Array.from(await p.data(), Number)
  const mean = values.reduce((a, b) => a + b, 0) / values.length
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length
  return { mean, std: Math.sqrt(variance), min: Math.min(...values), max: Math.max(...values) }
}

beforeEach(() => manualSeed(7))

describe('initialisers', () => {
  test('constants', async () => {
    expect(await init.zeros(parameter(2)).toArray()).toEqual([0, 0])
    expect(await init.ones(parameter(2)).toArray()).toEqual([1, 1])
    expect(await init.constant(parameter(2), 2.5).toArray()).toEqual([2.5, 2.5])
    expect(await init.identity(parameter(2, 3)).toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ])
  })

  test('a parameter keeps its dtype and gradient setting', () => {
    const p = new Parameter(full([4, 4], 0, { dtype: 'float64' }))
    for (const one of [
      init.uniform,
      init.normal,
      init.xavierNormal,
      init.orthogonal,
      init.truncatedNormal,
      init.zeros,
    ]) {
      expect(one(p)).toBe(p)
      expect([p.dtype, p.trainable]).toEqual(['float64', true])
    }
  })

  test('fans of dense and convolution weights', () => {
    expect(init.fans(parameter(5, 3))).toEqual({ fanIn: 3, fanOut: 5 })
    expect(init.fans(parameter(8, 3, 2, 4))).toEqual({ fanIn: 24, fanOut: 48 })
    expect(() => init.fans(parameter(3))).toThrow(/two or more axes; got \[3\]/)
  })

  // The standard error of 60,000 draws is below 0.5 % of the deviation for the mean, and below 0.3 % for the deviation.
  const weight = () => parameter(200, 3, 100) // fanIn 300, fanOut 600
  test.each([
    ['uniform', () => init.uniform(weight(), -1, 3), { mean: 1, std: 4 / Math.sqrt(12), min: -1, max: 3 }],
    ['normal', () => init.normal(weight(), 2, 0.5), { mean: 2, std: 0.5 }],
    ['truncatedNormal', () => init.truncatedNormal(weight()), { mean: 0, std: 0.8796, min: -2, max: 2 }],
    [
      'xavierUniform',
      () => init.xavierUniform(weight()),
      { mean: 0, std: Math.sqrt(2 / 900), max: Math.sqrt(6 / 900) },
    ],
    ['xavierNormal', () => init.xavierNormal(weight(), { gain: 2 }), { mean: 0, std: 2 * Math.sqrt(2 / 900) }],
    [
      'kaimingUniform',
      () => init.kaimingUniform(weight(), { nonlinearity: 'relu' }),
      { mean: 0, std: Math.sqrt(2 / 300), max: Math.sqrt(6 / 300) },
    ],
    ['kaimingNormal', () => init.kaimingNormal(weight(), { mode: 'fanOut' }), { mean: 0, std: Math.sqrt(2 / 600) }],
    [
      'kaimingNormal of leaky units',
      () => init.kaimingNormal(weight(), { slope: 0.5 }),
      { mean: 0, std: Math.sqrt(2 / 1.25 / 300) },
    ],
  ])('%s', async (_, make, expected: { mean: number; std: number; min?: number; max?: number }) => {
    const found = await statistics(make())
    expect(Math.abs(found.mean - expected.mean) / expected.std).toBeLessThan(0.02)
    expect(Math.abs(found.std / expected.std - 1)).toBeLessThan(0.015)
    if (expected.max !== undefined) {
      expect(found.max).toBeLessThanOrEqual(expected.max * (1 + 1e-6))
      expect(found.max).toBeGreaterThan(expected.mean + 0.98 * (expected.max - expected.mean))
    }
    if (expected.min !== undefined) expect(found.min).toBeGreaterThanOrEqual(expected.min)
  })

  test.each([
    [4, 4],
    [3, 7],
    [7, 3],
    [1, 5],
    [64, 64],
  ])('orthogonal %i x %i', async (rows, columns) => {
    const p = init.orthogonal(new Parameter(full([rows, columns], 0, { dtype: 'float64' })), { gain: 2 })
    const product = rows <= columns ? p.matmul(p.permute([1, 0])) : p.permute([1, 0]).matmul(p)
    const n = Math.min(rows, columns)
    const values = (await product.data()) as Float64Array
    for (let i = 0; i < n * n; i++) expect(values[i]).toBeCloseTo(i % (n + 1) === 0 ? 4 : 0, 10)
  })

  test('orthogonal matrices have no preferred direction', async () => {
    let [trace, negative] = [0, 0]
    for (let i = 0; i < 400; i++) {
      const [[a, b], [c, d]] = (await init.orthogonal(parameter(2, 2)).toArray()) as number[][] as [
        [number, number],
        [number, number],
      ]
      trace += a + d
      if (a * d - b * c < 0) negative++
    }
    expect(Math.abs(trace / 400)).toBeLessThan(0.25)
    expect(negative).toBeGreaterThan(140)
    expect(negative).toBeLessThan(260)
  })

  test('orthogonal weights of convolutions count further axes as columns', async () => {
    const p = init.orthogonal(parameter(4, 3, 3, 2))
    const flat = p.reshape([4, 18])
    const values = await flat.matmul(flat.permute([1, 0])).data()
    for (let i = 0; i < 16; i++) expect(values[i]).toBeCloseTo(i % 5 === 0 ? 1 : 0, 5)
  })

  test('sparse columns', async () => {
    const values = await init.sparse(parameter(50, 20), 0.3, { std: 1 }).data()
    for (let column = 0; column < 20; column++) {
      const zeros = Array.from({ length: 50 }, (_, row) => values[row * 20 + column]).filter(v => v === 0)
      expect(zeros.length).toBe(15)
    }
  })

  test('the same seed gives the same values', async () => {
    const draw = async () => {
      manualSeed(3)
      return init.kaimingUniform(parameter(3, 4)).toArray()
    }
    expect(await draw()).toEqual(await draw())
  })

  test('bad arguments', () => {
    expect(() => init.kaimingNormal(parameter(2, 2), { mode: 'fan' as never })).toThrow(
      /'fanIn' or 'fanOut'; got 'fan'/,
    )
    expect(() => init.gain('cubic' as never)).toThrow(/unknown nonlinearity 'cubic'/)
    expect(() => init.identity(parameter(2, 2, 2))).toThrow(/two axes; got \[2,2,2\]/)
    expect(() => init.orthogonal(parameter(2))).toThrow(/two or more axes/)
    expect(() => init.sparse(parameter(2, 2), 2)).toThrow(/fraction to be from 0 to 1; got 2/)
  })
})
