import { clipByGlobalNorm } from '../ops.generated'
import { Tensor } from '../tensor'
import { check, listOf, type Rule } from './check'

const limit: Rule = { expected: '0 or more', holds: value => typeof value === 'number' && value >= 0 }

/** Those of the parameters that have a gradient, with it. */
function gradients(owner: string, parameters: Iterable<Tensor>): [Tensor, Tensor][] {
  return listOf(owner, Tensor, parameters).flatMap(parameter => {
    const { grad } = parameter
    return grad ? [[parameter, grad] as [Tensor, Tensor]] : []
  })
}

/**
 * Scales all gradients down together so that their norm is at most `maxNorm` (Pascanu et al., 2013); Infinity only measures.
 * @returns The norm before, a scalar; undefined where there are no gradients.
 * @throws ERR_VALUE for a limit below 0.
 */
export function clipGradNorm(parameters: Iterable<Tensor>, maxNorm: number): Tensor | undefined {
  check('clipGradNorm', { maxNorm: limit }, { maxNorm })
  const found = gradients('clipGradNorm', parameters)
  if (found.length === 0) return undefined
  const results = clipByGlobalNorm(
    found.map(([, grad]) => grad),
    maxNorm,
  )
  for (const [i, [parameter]] of found.entries()) parameter.grad = results[i]
  return results.at(-1)
}

/**
 * Limits every element of every gradient to [-maxValue, maxValue].
 * @throws ERR_VALUE for a limit below 0.
 */
export function clipGradValue(parameters: Iterable<Tensor>, maxValue: number): void {
  check('clipGradValue', { maxValue: limit }, { maxValue })
  for (const [parameter, grad] of gradients('clipGradValue', parameters))
    parameter.grad = grad.detach().clamp({ min: -maxValue, max: maxValue })
}
