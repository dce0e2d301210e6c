import { compile, type Parameter, type Tensor } from 'anneal'
import { expect } from 'vitest'
import { flat } from '../support/values'

/** The largest difference, relative to the largest value where that is above 1. */
export function distance(found: number[], expected: number[]) {
  expect(found).toHaveLength(expected.length)
  let [most, scale] = [0, 1]
  for (const [i, value] of expected.entries()) {
    most = Math.max(most, Math.abs(found[i]! - value))
    scale = Math.max(scale, Math.abs(value))
  }
  return most / scale
}

interface Options {
  /** The largest distance. Default: 1e-6. */
  tolerance?: number
}

/** The fused operations of the captured function, after checking that it computes what the function does, twice. */
export async function fused(fn: (...inputs: Tensor[]) => Tensor[], inputs: Tensor[], options: Options = {}) {
  const expected = await Promise.all(fn(...inputs).map(flat))
  const run = compile(fn)
  for (let i = 0; i < 2; i++) {
    const results = await Promise.all(run(...inputs).map(flat))
    for (const [k, values] of expected.entries())
      expect(distance(results[k]!, values)).toBeLessThanOrEqual(options.tolerance ?? 1e-6)
  }
  const { operations } = await run.explain(...inputs)
  return operations.filter(({ name }) => name.startsWith('fused')).map(({ attributes }) => attributes)
}

/** The function with the gradients of these parameters after its results. */
export const withGradients = (fn: (x: Tensor) => Tensor, parameters: readonly Parameter[]) => (x: Tensor) => {
  const y = fn(x)
  y.square().sum().backward()
  const gradients = parameters.map(({ grad }) => grad!)
  for (const parameter of parameters) parameter.grad = undefined
  return [y, ...gradients]
}
