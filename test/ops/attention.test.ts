import { manualSeed, rotaryEmbedding, scaledDotProductAttention, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { place } from '../support/device'

function values(shape: number[], salt: number): Tensor {
  const size = shape.reduce((n, d) => n * d, 1)
  const data = Float32Array.from({ length: size }, (_, i) => Math.sin(i * 0.37 + salt) * 1.5)
  return place(tensor(data, { shape }))
}

interface Inputs {
  q: Tensor
  k: Tensor
  v: Tensor
  mask?: Tensor
}

interface Options {
  causal?: boolean
  dropoutP?: number
}

/** The result and the gradients of its sum, weighted. The same weights are dropped each time. */
async function run({ q, k, v, mask }: Inputs, dtype: 'float32' | 'float64', options: Options): Promise<number[][]> {
  const [a, b, c] = [q, k, v].map(t => t.cast(dtype).requireGrad()) as [Tensor, Tensor, Tensor]
  const added = mask && mask.dtype !== 'bool' ? mask.cast(dtype) : mask
  manualSeed(21)
  const y = scaledDotProductAttention(a, b, c, added, options)
  y.mul(values([...y.shape], 9).cast(dtype))
    .sum()
    .backward()
  const all = [y, a.grad!, b.grad!, c.grad!]
  return Promise.all(all.map(async t => Array.from(await t.data(), Number)))
}

/** The tiled kernel computes in float32, the plain formula serves float64. */
async function compare(inputs: Inputs, options: Options = {}) {
  const tiled = await run(inputs, 'float32', options)
  const plain = await run(inputs, 'float64', options)
  tiled.forEach((list, i) => {
    const scale = Math.max(1, ...plain[i]!.map(Math.abs))
    const worst = list.reduce((most, value, j) => Math.max(most, Math.abs(value - plain[i]![j]!)), 0)
    expect(worst / scale, ['result', 'dq', 'dk', 'dv'][i]).toBeLessThan(2e-5)
  })
}

describe('attention in tiles agrees with the plain formula', () => {
  const make = (b: number, h: number, shared: number, tq: number, tk: number, d: number, dv = d): Inputs => ({
    q: values([b, h, tq, d], 1),
    k: values([b, shared, tk, d], 2),
    v: values([b, shared, tk, dv], 3),
  })

  test('one head over several tiles', () => compare(make(1, 1, 1, 210, 530, 24)))
  test('causal', () => compare(make(1, 2, 2, 300, 300, 16), { causal: true }))
  test('causal with fewer queries than keys', () => compare(make(1, 1, 1, 100, 400, 8), { causal: true }))
  test('causal with more queries than keys', () => compare(make(1, 1, 1, 400, 100, 8), { causal: true }))
  test('grouped heads in many batches', () => compare(make(3, 6, 2, 110, 140, 8, 20), { causal: true }))
  test('one query', () => compare(make(2, 3, 3, 1, 300, 64)))

  test('a bool mask', () => {
    const inputs = make(2, 2, 2, 130, 270, 8)
    return compare({ ...inputs, mask: values([2, 1, 130, 270], 4).greater(-0.5) })
  })
  test('a float mask', () => {
    const inputs = make(2, 2, 1, 130, 270, 8)
    return compare({ ...inputs, mask: values([130, 270], 4) }, { causal: true })
  })
  test.each([[0.1], [0.5], [0.99]])('dropout of %s, with rows of keys that begin anywhere', async dropoutP => {
    await compare(make(1, 3, 3, 210, 530, 24), { dropoutP })
    await compare(make(2, 4, 2, 70, 139, 8, 20), { dropoutP, causal: true })
    const inputs = make(2, 2, 1, 65, 201, 16)
    await compare({ ...inputs, mask: values([2, 1, 65, 201], 4).greater(-0.5) }, { dropoutP })
  })
  test('heads that are views of [B, T, H, D]', async () => {
    const { q, k, v } = make(2, 50, 50, 3, 3, 8)
    const turned = [q, k, v].map(t => t.permute([0, 2, 1, 3])) as [Tensor, Tensor, Tensor]
    await compare({ q: turned[0], k: turned[1], v: turned[2] }, { causal: true })
  })
})

test('a query that sees no key gives zeros, and no gradient', async () => {
  const mask = tensor(
    [
      [
        [
          [false, false],
          [true, false],
        ],
      ],
    ],
    { dtype: 'bool' },
  )
  const added = tensor([
    [
      [
        [-Infinity, -Infinity],
        [0, -Infinity],
      ],
    ],
  ])
  for (const m of [mask, added]) {
    for (const dtype of ['float32', 'float64'] as const) {
      const inputs = { q: values([1, 1, 2, 3], 1), k: values([1, 1, 2, 3], 2), v: values([1, 1, 2, 3], 3), mask: m }
      const [y, dq] = await run(inputs, dtype, {})
      expect(y!.slice(0, 3)).toEqual([0, 0, 0])
      expect(dq!.slice(0, 3).map(Math.abs)).toEqual([0, 0, 0])
      expect(y!.slice(3).every(v => Number.isFinite(v) && v !== 0)).toBe(true)
    }
  }
})

test('NaN stays in its row', async () => {
  const q = tensor([Number.NaN, 1, 1, 1], { dtype: 'float32' }).reshape([1, 1, 2, 2])
  const y = Array.from(
    await scaledDotProductAttention(q, values([1, 1, 2, 2], 1), values([1, 1, 2, 2], 2)).data(),
    Number,
  )
  expect(y.map(v => Number.isNaN(v))).toEqual([true, true, false, false])
})

test('no queries or no keys', async () => {
  const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((n, d) => n * d, 1)), { shape })
  expect(scaledDotProductAttention(zeros(1, 2, 0, 4), zeros(1, 2, 3, 4), zeros(1, 2, 3, 4)).shape).toEqual([1, 2, 0, 4])
  const y = scaledDotProductAttention(values([1, 1, 2, 4], 1), zeros(1, 1, 0, 4), zeros(1, 1, 0, 3))
  expect(Array.from(await y.data(), Number)).toEqual([0, 0, 0, 0, 0, 0])
})

test('dropout leaves out weights and scales up the rest', async () => {
  const v = tensor(new Float32Array(4000).fill(1), { shape: [1, 1, 4000, 1] })
  const q = tensor(new Float32Array(64), { shape: [1, 1, 64, 1] })
  const k = tensor(new Float32Array(4000), { shape: [1, 1, 4000, 1] })
  const y = Array.from(await scaledDotProductAttention(q, k, v, undefined, { dropoutP: 0.25 }).data(), Number)
  expect(new Set(y).size).toBeGreaterThan(1)
  for (const sum of y) expect(Math.abs(sum - 1)).toBeLessThan(0.06)
  const none = await scaledDotProductAttention(q, k, v, undefined, { dropoutP: 1 }).data()
  expect(Array.from(none, Number).every(sum => sum === 0)).toBe(true)
})

describe('errors', () => {
  const x = (...shape: number[]) => values(shape, 1)
  const code = (expected: string) => expect.objectContaining({ code: expected })

  test('attention', () => {
    expect(() => scaledDotProductAttention(x(2, 3, 4), x(2, 3, 4), x(2, 3, 4))).toThrow(
      /takes \[batch, heads, time, depth\]/,
    )
    expect(() => scaledDotProductAttention(x(1, 3, 2, 4), x(1, 2, 2, 4), x(1, 2, 2, 4))).toThrow(/divides that of q/)
    expect(() => scaledDotProductAttention(x(1, 2, 2, 4), x(1, 2, 2, 5), x(1, 2, 2, 5))).toThrow(code('ERR_SHAPE'))
    expect(() => scaledDotProductAttention(x(1, 1, 2, 4), x(1, 1, 2, 4), x(1, 1, 2, 4), x(3, 3))).toThrow(
      'scaledDotProductAttention: shapes do not broadcast: [3,3] with [1,1,2,2]',
    )
    expect(() => scaledDotProductAttention(x(1, 1, 2, 4), x(1, 1, 2, 4), x(1, 1, 2, 4), x(2, 2).cast('int32'))).toThrow(
      code('ERR_DTYPE'),
    )
  })

  test('dropoutP', () => {
    expect(() =>
      scaledDotProductAttention(x(1, 1, 2, 4), x(1, 1, 2, 4), x(1, 1, 2, 4), undefined, { dropoutP: 2 }),
    ).toThrow('scaledDotProductAttention: dropoutP is a probability; got 2')
  })

  test('rotaryEmbedding', () => {
    expect(() => rotaryEmbedding(x(2, 3))).toThrow(
      'rotaryEmbedding: takes [..., time, depth] with an even depth; got [2,3]',
    )
    expect(() => rotaryEmbedding(x(2, 4), x(2))).toThrow(code('ERR_DTYPE'))
    expect(() => rotaryEmbedding(x(2, 4), tensor([1, 2, 3], { dtype: 'int64' }))).toThrow(code('ERR_SHAPE'))
    expect(() => rotaryEmbedding(x(2, 4), undefined, x(3))).toThrow(code('ERR_SHAPE'))
  })
})

function expectClose(got: ArrayLike<number | bigint>, expected: ArrayLike<number | bigint>) {
  expect(got.length).toBe(expected.length)
  for (let i = 0; i < got.length; i++) expect(Number(got[i])).toBeCloseTo(Number(expected[i]), 5)
}

test('turning back undoes a rotation, and given frequencies replace those of the base', async () => {
  const x = values([2, 5, 4], 1)
  const back = await rotaryEmbedding(rotaryEmbedding(x), undefined, undefined, { inverse: true }).data()
  expectClose(back, await x.data())
  const same = await rotaryEmbedding(x, undefined, tensor([1, 0.01])).data()
  expectClose(same, await rotaryEmbedding(x).data())
})
