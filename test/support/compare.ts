import type { DType, Tensor } from 'anneal'
import { expect } from 'vitest'
import { type Stored, type Values, valuesOf } from './golden'

export interface Tolerance {
  rtol: number
  atol: number
}

const tolerances: Partial<Record<DType, Tolerance>> = {
  float64: { rtol: 1e-10, atol: 1e-12 },
  float32: { rtol: 1e-5, atol: 1e-6 },
  float16: { rtol: 2e-3, atol: 1e-3 },
  bfloat16: { rtol: 1.6e-2, atol: 8e-3 },
}

/** How far values of `dtype` may lie apart, `factor` times the usual but at least what is given; integers are exact. */
export function toleranceOf(dtype: DType, factor = 1, least: Partial<Tolerance> = {}): Tolerance {
  const usual = tolerances[dtype]
  if (!usual) return { rtol: 0, atol: 0 }
  return { rtol: Math.max(usual.rtol * factor, least.rtol ?? 0), atol: Math.max(usual.atol * factor, least.atol ?? 0) }
}

/** NaN equals NaN, and an infinity only itself. */
export function isNear(got: number | bigint, expected: number | bigint, { rtol, atol }: Tolerance): boolean {
  if (got === expected) return true
  if (typeof got === 'bigint' || typeof expected === 'bigint') return false
  if (Number.isNaN(expected)) return Number.isNaN(got)
  if (!Number.isFinite(expected) || !Number.isFinite(got)) return false
  return Math.abs(got - expected) <= atol + rtol * Math.abs(expected)
}

/** Fails, naming the first element that differs. */
export function expectNear(what: string, got: Values, expected: Values, tolerance: Tolerance): void {
  expect(got.length, `${what}: number of elements`).toBe(expected.length)
  for (let i = 0; i < expected.length; i++) {
    if (!isNear(got[i]!, expected[i]!, tolerance)) {
      expect.fail(
        `${what}: element ${i}: expected ${expected[i]}, got ${got[i]} (rtol ${tolerance.rtol}, atol ${tolerance.atol})`,
      )
    }
  }
}

/** Compares shape, dtype and values. */
export async function expectTensor(what: string, got: Tensor, expected: Stored, tolerance: Tolerance): Promise<void> {
  expect([...got.shape], `${what}: shape`).toEqual(expected.shape)
  expect(got.dtype, `${what}: dtype`).toBe(expected.dtype)
  expectNear(what, await got.data(), valuesOf(expected), tolerance)
}

/** Compares a gradient, where none and zeros mean the same. */
export async function expectGradient(
  what: string,
  got: Tensor | undefined,
  expected: Stored | null,
  tolerance: Tolerance,
): Promise<void> {
  if (!got && !expected) return
  const data = got ? await got.data() : undefined
  const values = expected ? valuesOf(expected) : undefined
  const zeros = new Float64Array((data ?? values)!.length)
  expectNear(what, data ?? zeros, values ?? zeros, tolerance)
}
