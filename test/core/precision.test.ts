import { compile, getFloat32MatmulPrecision, setFloat32MatmulPrecision, type Tensor, tensor } from 'anneal'
import { afterEach, expect, test } from 'vitest'
import { place } from '../support/device'

const first = getFloat32MatmulPrecision()
afterEach(() => setFloat32MatmulPrecision(first))

test('the precision of float32 products is what was set last', async () => {
  const x = place(
    tensor([
      [1.0001, 2],
      [3, 4],
    ]),
  )
  const exact = Array.from(await x.matmul(x).data(), Number)
  for (const precision of ['high', 'highest', 'high'] as const) {
    setFloat32MatmulPrecision(precision)
    expect(getFloat32MatmulPrecision()).toBe(precision)
    const y = Array.from(await x.matmul(x).data(), Number)
    for (const [i, v] of y.entries()) expect(Math.abs(v - exact[i]!)).toBeLessThan(0.02)
  }
})

test('other names are refused, and so is a change while a function is captured', () => {
  expect(() => setFloat32MatmulPrecision('medium' as 'high')).toThrow(
    "setFloat32MatmulPrecision: expected 'highest' or 'high'; got medium",
  )
  const captured = compile((x: Tensor) => {
    setFloat32MatmulPrecision('high')
    return x.mul(2)
  })
  expect(() => captured(place(tensor([1, 2])))).toThrow(/setFloat32MatmulPrecision\(\)/)
  expect(getFloat32MatmulPrecision()).toBe(first)
})
