import { clipByGlobalNorm } from '../ops.generated'
import type { Parameter, Tensor } from '../tensor'

/** The parameters that have a gradient, with it. */
function gradients(parameters: readonly Parameter[]): [Parameter, Tensor][] {
  return parameters.flatMap(parameter => {
    const { grad } = parameter
    return grad ? [[parameter, grad] as [Parameter, Tensor]] : []
  })
}

/**
 * Scales all gradients down together so that their norm is at most `maxNorm` (Pascanu et al., 2013).
 * @returns The norm before, a scalar.
 */
export function clipGradNorm(parameters: readonly Parameter[], maxNorm: number): Tensor | undefined {
  const found = gradients(parameters)
  if (found.length === 0) return undefined
  const results = clipByGlobalNorm(
    found.map(([, grad]) => grad),
    maxNorm,
  )
  for (const [i, [parameter]] of found.entries()) parameter.grad = results[i]
  return results.at(-1)
}

/** Limits every element of every gradient to [-maxValue, maxValue]. */
export function clipGradValue(parameters: readonly Parameter[], maxValue: number): void {
  for (const [parameter, grad] of gradients(parameters))
    parameter.grad = grad.detach().clamp({ min: -maxValue, max: maxValue })
}
