// Kernels move neighbours in packs: here the counts, and the places in memory, that leave some of them incomplete.
import {
  arange,
  bernoulli,
  dropout,
  manualSeed,
  permutation,
  randomInt,
  randomNormal,
  randomState,
  randomUniform,
  type Tensor,
  tensor,
  truncatedNormal,
} from 'anneal'
import { beforeAll, describe, expect, test } from 'vitest'

const floats = ['float32', 'float64', 'float16', 'bfloat16'] as const
const counts = [...Array(35).keys(), 127, 1023, 2049]
const most = 2056
const seed = 20n
const numbers = async (t: Tensor) => Array.from(await t.data(), Number)
const key = () => tensor(new BigInt64Array([seed, 5n]))

/** The first 32 random bits of each element. */
let words: number[]
beforeAll(async () => {
  words = (await numbers(randomUniform([most], { dtype: 'float64', key: key() }))).map(v => Math.floor(v * 2 ** 32))
})

test('uniform numbers are the first bits of their words', async () => {
  for (const [dtype, digits] of [
    ['float32', 24],
    ['float16', 11],
    ['bfloat16', 8],
  ] as const)
    expect(await numbers(randomUniform([most], { dtype, key: key() }))).toEqual(
      words.map(w => (w >>> (32 - digits)) / 2 ** digits),
    )
})

test('a bernoulli number is 1 where its word is below a share of all', async () => {
  for (const dtype of ['bool', 'int8', 'float16', 'float32', 'int64'] as const)
    expect(await numbers(bernoulli([most], { p: 0.25, dtype, key: key() }))).toEqual(
      words.map(w => Number(w < 2 ** 30)),
    )
})

test('normal numbers are those of Box and Muller', async () => {
  const uniform = words.map(w => (w >>> 8) / 2 ** 24)
  const expected = uniform.map((_, i) => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform[i & ~1]!))
    const angle = 2 * Math.PI * uniform[i | 1]!
    return radius * (i % 2 ? Math.sin(angle) : Math.cos(angle))
  })
  const values = await numbers(randomNormal([most], { mean: 1, std: 0.5, key: key() }))
  values.forEach((v, i) => {
    expect(Math.abs((v - 1) / 0.5 - expected[i]!)).toBeLessThan(5e-6)
  })
})

describe('a shorter draw is the beginning of a longer one', () => {
  const kinds: [string, (count: number) => Tensor][] = [
    ...floats.flatMap((dtype): [string, (count: number) => Tensor][] => [
      [`uniform ${dtype}`, n => randomUniform([n], { low: -1, high: 2, dtype, key: key() })],
      [`normal ${dtype}`, n => randomNormal([n], { dtype, key: key() })],
      [`truncated normal ${dtype}`, n => truncatedNormal([n], { dtype, key: key() })],
    ]),
    ...(['bool', 'uint8', 'int8', 'int32', 'int64'] as const).flatMap(
      (dtype): [string, (count: number) => Tensor][] => [
        [`bernoulli ${dtype}`, n => bernoulli([n], { dtype, key: key() })],
        [`integers ${dtype}`, n => randomInt([n], 0, 2, { dtype, key: key() })],
      ],
    ),
  ]
  test.each(kinds)('%s', async (_, draw) => {
    const whole = await numbers(draw(most))
    for (const n of counts) expect(await numbers(draw(n))).toEqual(whole.slice(0, n))
  })
})

test("the generator's key is one that can be given", async () => {
  manualSeed(7)
  const [from, offset] = randomState()
  const drawn = await numbers(randomUniform([9]))
  const same = tensor(new BigInt64Array([BigInt(from), BigInt(offset)]))
  expect(await numbers(randomUniform([9], { key: same }))).toEqual(drawn)
})

test('a permutation of any count', async () => {
  for (const n of counts.slice(0, 20))
    expect((await numbers(permutation(n, { key: key() }))).sort((a, b) => a - b)).toEqual([...Array(n).keys()])
})

describe('dropout', () => {
  test.each(floats)('of views that begin and end anywhere, %s', async dtype => {
    const x = arange(1, 101, { dtype })
    for (let from = 0; from < 10; from++)
      for (const n of [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 90]) {
        const values = await numbers(dropout(x.narrow(0, from, n), { p: 0.5, key: key() }))
        expect(values).toEqual(Array.from({ length: n }, (_, i) => (words[i]! >= 2 ** 31 ? 2 * (from + i + 1) : 0)))
      }
  })

  test('keeps what is no number, and nothing of what it drops', async () => {
    const values = await numbers(dropout(tensor(Array(64).fill(Number.NaN)), { p: 0.5, key: key() }))
    values.forEach((v, i) => {
      expect(v).toBe(words[i]! >= 2 ** 31 ? Number.NaN : 0)
    })
  })
})
