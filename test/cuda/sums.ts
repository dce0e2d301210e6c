// Products that add up a factor besides: what both files of tests on them share.
import { compile, type DType, randomNormal, type Tensor } from 'anneal'
import { expect } from 'vitest'
import { flat } from '../support/values'
import type { Fn } from './captured'

const tolerances: Partial<Record<DType, number>> = { float64: 1e-12, float32: 1e-5, float16: 2e-3, bfloat16: 2e-2 }

/** What of the captured function is joined to products with sums, after checking that its results are those of the function. */
export async function summed(fn: Fn, inputs: Tensor[], exact = false): Promise<string[]> {
  const expected = fn(...inputs)
  const run = compile(fn)
  for (let i = 0; i < 3; i++) {
    for (const [k, result] of run(...inputs).entries()) {
      const [found, wanted] = [await flat(result), await flat(expected[k]!)]
      const largest = exact ? 0 : Math.max(1, ...wanted.map(Math.abs))
      expect(found).toHaveLength(wanted.length)
      for (const [j, value] of wanted.entries())
        expect(Math.abs(found[j]! - value)).toBeLessThanOrEqual(tolerances[result.dtype]! * largest)
    }
  }
  const { operations } = await run.explain(...inputs)
  return operations.filter(({ name }) => name === 'fusedSums').map(({ attributes }) => attributes)
}

/** Factors [260, 136] and [260, 24]: the sums of the first are worth joining. */
export const inputsOf = (dtype: DType) => [randomNormal([260, 136]).cast(dtype), randomNormal([260, 24]).cast(dtype)]

/** Ways to take the sums of the first factor with its product with the other. */
export const ways: Record<string, Fn> = {
  'of the left factor': (a, b) => [a.transpose(0, 1).matmul(b), a.sum({ axis: 0 })],
  'of the left factor, before the product': (a, b) => {
    const sums = a.sum({ axis: 0 })
    return [sums.mul(2), a.transpose(0, 1).matmul(b)]
  },
  'of the right factor': (a, b) => [b.transpose(0, 1).matmul(a), a.sum({ axis: 0, keepDims: true })],
  'over several axes': (a, b) => {
    const rows = a.mul(0.5)
    return [rows.transpose(0, 1).matmul(b), rows.reshape([2, 10, 13, 136]).sum({ axis: [0, 1, 2] })]
  },
}
