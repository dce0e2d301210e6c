import { type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'

// The functions of float32 that are computed by polynomials, against double precision, over all magnitudes and edges.
const edges = [0, -0, 1, -1, 0.5, -0.5, 2, -2, Number.NaN, Infinity, -Infinity, 1e-45, 1e-38, 3e38, -3e38, 1e10, -1e10]
const spread = Array.from({ length: 3000 }, (_, i) => (i % 2 ? 1 : -1) * 10 ** ((i % 997) / 12.3 - 41))
const plain = Array.from({ length: 3000 }, (_, i) => (i - 1500) / 73)
const numbers = [...edges, ...spread, ...plain].map(Math.fround)

const largest = 3.4028234e38
/** What float32 makes of a double, except that subnormals may be lost. */
function expectClose(name: string, got: number, exact: number, at: readonly number[]) {
  const expected = Math.fround(exact)
  const same = Object.is(got, expected) || Math.abs(got - exact) <= Math.max(2e-6 * Math.abs(exact), 2e-38)
  if (!same && !(Math.abs(exact) > 0.999999 * largest)) throw new Error(`${name}(${at}): ${got} instead of ${expected}`)
  if (exact === 0 && got === 0)
    expect(`${name}(${at}): ${Object.is(got, -0)}`).toBe(`${name}(${at}): ${Object.is(exact, -0)}`)
}

const unary: [string, (x: Tensor) => Tensor, (x: number) => number][] = [
  ['sin', x => x.sin(), Math.sin],
  ['cos', x => x.cos(), Math.cos],
  ['tan', x => x.tan(), Math.tan],
  ['asin', x => x.asin(), Math.asin],
  ['acos', x => x.acos(), Math.acos],
  ['atan', x => x.atan(), Math.atan],
  ['sinh', x => x.sinh(), Math.sinh],
  ['cosh', x => x.cosh(), Math.cosh],
  ['tanh', x => x.tanh(), Math.tanh],
  ['asinh', x => x.asinh(), Math.asinh],
  ['acosh', x => x.acosh(), Math.acosh],
  ['atanh', x => x.atanh(), Math.atanh],
  ['exp', x => x.exp(), Math.exp],
  ['expm1', x => x.expm1(), Math.expm1],
  ['log', x => x.log(), Math.log],
  ['log1p', x => x.log1p(), Math.log1p],
  ['pow by -1.5', x => x.pow(-1.5), x => x ** -1.5],
  ['pow by 3', x => x.pow(3), x => x ** 3],
]
test.each(unary)('%s', async (name, op, exact) => {
  const values = await op(tensor(Float32Array.from(numbers))).data()
  for (const [i, x] of numbers.entries()) expectClose(name, Number(values[i]), exact(x), [x])
})

/** C's pow, whose powers of 1 are 1. */
const power = (a: number, b: number) => (a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b)
const mod = (a: number, b: number) => {
  const rest = a % b
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest
}
const binary: [string, (a: Tensor, b: Tensor) => Tensor, (a: number, b: number) => number][] = [
  ['pow', (a, b) => a.pow(b), power],
  ['fmod', (a, b) => a.fmod(b), (a, b) => a % b],
  ['mod', (a, b) => a.mod(b), mod],
  ['atan2', (a, b) => a.atan2(b), Math.atan2],
  ['hypot', (a, b) => a.hypot(b), Math.hypot],
]
describe('of two operands', () => {
  const some = [...edges, 3, -3, 7.25, -1e-3, 16777216, 33554434, 1e5, 40.7, ...plain.filter((_, i) => i % 151 === 0)]
  const pairs = some.flatMap(a => some.map(b => [Math.fround(a), Math.fround(b)] as const))
  test.each(binary)('%s', async (name, op, exact) => {
    const [a, b] = [0, 1].map(i => tensor(Float32Array.from(pairs, pair => pair[i as 0 | 1])))
    const values = await op(a!, b!).data()
    for (const [i, [x, y]] of pairs.entries()) expectClose(name, Number(values[i]), exact(x, y), [x, y])
  })
})

test('erfc keeps its relative precision in the tail', async () => {
  const values = await tensor([0.5, 1, 2, 4, 6, 9, -1, 30, Number.NaN]).erfc().data()
  const exact = [
    0.4795001222, 0.1572992071, 0.004677734981, 1.54172579e-8, 2.151973671e-17, 4.137031747e-37, 1.842700793,
  ]
  for (const [i, v] of exact.entries()) expect(Math.abs(Number(values[i]) / v - 1)).toBeLessThan(1e-6)
  expect(Array.from(values.slice(7), Number)).toEqual([0, Number.NaN])
})

test('large angles, where float arithmetic alone would be lost', async () => {
  const angles = [1e4, 123456, 1048576, 1048577, 1e7, 3e22, -2e15].map(Math.fround)
  const [sin, cos] = await Promise.all([tensor(angles).sin().data(), tensor(angles).cos().data()])
  for (const [i, x] of angles.entries()) {
    expect(Number(sin[i])).toBeCloseTo(Math.sin(x), 6)
    expect(Number(cos[i])).toBeCloseTo(Math.cos(x), 6)
  }
})
