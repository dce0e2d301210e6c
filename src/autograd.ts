import { expectList, expectTensor, expectTensors, handleOrAbsent } from './call'
import { isFloat } from './dtype'
import { currentMode, withMode } from './mode'
import { native, throwLast } from './native'
import { type BackwardOptions, Tensor } from './tensor'

/** Runs `fn`, and what it awaits, without recording anything for gradients. */
export function noGrad<R>(fn: () => R): R {
  return withMode({ grad: false }, fn)
}

/** Runs `fn` with recording, inside of {@link noGrad}. */
export function enableGrad<R>(fn: () => R): R {
  return withMode({ grad: true }, fn)
}

/** Whether calls here are recorded for gradients. */
export function gradEnabled(): boolean {
  return currentMode().grad
}

export interface GradientOptions extends BackwardOptions {
  /** The gradients of the final result with respect to `outputs`; implied for outputs of one element. */
  gradOutputs?: readonly (Tensor | undefined)[]
}

/**
 * The gradients of the sum of `outputs` with respect to `inputs`, leaving every `grad` alone; undefined for an input that
 * nothing depends on.
 * @throws ERR_GRADIENT for an input that does not require a gradient; ERR_VALUE for lists of other things than tensors.
 */
export function gradients(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  options: GradientOptions = {},
): (Tensor | undefined)[] {
  const { retainGraph = false, createGraph = false, gradOutputs = [] } = options
  const result = native.gradients(
    expectTensors(outputs, 'gradients: outputs').map(t => t.handle),
    handlesOf(gradOutputs, 'gradients: gradOutputs'),
    expectTensors(inputs, 'gradients: inputs').map(t => t.handle),
    retainGraph,
    createGraph,
  )
  if (!result) throwLast()
  return result.map(handle => (handle < 0 ? undefined : new Tensor(handle)))
}

/** The handles of gradients, -1 for those that are undefined. */
function handlesOf(gradients: readonly (Tensor | undefined)[], what: string): number[] {
  return expectList(gradients, what).map((g, i) => handleOrAbsent(g, `${what}[${i}]`))
}

/** Which arguments of a function to differentiate by. Default: all that are floating-point tensors. */
export interface GradOptions {
  argnums?: readonly number[]
}

type Arguments = readonly unknown[]

/**
 * A function that gives the value of `fn`, a scalar tensor, and its gradients with respect to the arguments; zeros where the
 * value does not depend on one. Value and gradients can be differentiated in turn, by arguments that require gradients and by
 * whatever else `fn` reads that does: for higher orders, or penalties on gradients. That keeps what was recorded for as long
 * as they live, and records the gradients, too; inside of {@link noGrad} it is not done.
 * @throws ERR_VALUE where `fn` gives no tensor, a promise for instance; ERR_SHAPE unless it has one element; ERR_GRADIENT
 * where that depends on nothing to differentiate by.
 */
export function valueAndGrad<A extends Arguments>(
  fn: (...args: A) => Tensor,
  options: GradOptions = {},
): (...args: A) => [value: Tensor, grads: Tensor[]] {
  return (...args) => {
    const recorded = gradEnabled()
    return enableGrad(() => {
      const wanted = wantedOf(args, options.argnums)
      const inputs: unknown[] = [...args]
      for (const i of wanted) inputs[i] = ownNode(args[i] as Tensor)
      const value = expectTensor(fn(...(inputs as unknown as A)), 'grad: the result of the function')
      const own = wanted.map(i => inputs[i] as Tensor)
      const higher = recorded && (wanted.some(i => (args[i] as Tensor).requiresGrad) || dependsOnOthers(value, own))
      const found = gradients([value], own, { createGraph: higher })
      return [higher ? value : value.detach(), found.map((g, k) => g ?? own[k]!.zerosLike())]
    })
  }
}

/** The places of the arguments to differentiate by. */
function wantedOf(args: Arguments, argnums: GradOptions['argnums']): readonly number[] {
  if (argnums === undefined) return args.flatMap((a, i) => (a instanceof Tensor && isFloat(a.dtype) ? [i] : []))
  for (const i of expectList(argnums, 'grad: argnums')) {
    expectTensor(args[i], `grad: argument ${String(i)}`, 'Say with argnums which arguments are tensors')
  }
  return argnums
}

/** The value of `given` in a place of its own in the record: a gradient by it is by nothing else, nor by what it came from. */
function ownNode(given: Tensor): Tensor {
  return (given.requiresGrad ? given : given.detach().requireGrad()).reshape(given.shape)
}

function dependsOnOthers(value: Tensor, own: readonly Tensor[]): boolean {
  const others = native.dependsOnOthers(
    value.handle,
    own.map(t => t.handle),
  )
  if (others < 0) throwLast()
  return others === 1
}

/** A function that gives the gradients of `fn` with respect to its arguments; see {@link valueAndGrad}. */
export function grad<A extends Arguments>(
  fn: (...args: A) => Tensor,
  options: GradOptions = {},
): (...args: A) => Tensor[] {
  const both = valueAndGrad(fn, options)
  return (...args) => both(...args)[1]
}

/**
 * Gives the result of `forward` a gradient of your own: `backward` gets the gradients of the outputs (undefined where
 * nothing flows back) and returns those of the inputs, of their shapes (undefined where there is none).
 * @throws ERR_VALUE unless `forward` gives a list of tensors, and during the backward pass unless `backward` gives a tensor or
 * undefined for each input; ERR_SHAPE where a gradient's shape is not its input's.
 */
export function customGrad(
  inputs: readonly Tensor[],
  forward: (...inputs: Tensor[]) => Tensor[],
  backward: (grads: (Tensor | undefined)[]) => (Tensor | undefined)[],
): Tensor[] {
  const handles = expectTensors(inputs, 'customGrad: inputs').map(t => t.handle)
  const outputs = expectTensors(
    noGrad(() => forward(...inputs)),
    'customGrad: the results of forward',
  ).map(t => t.detach())
  if (!gradEnabled() || !inputs.some(t => t.requiresGrad)) return outputs
  const gradient = (given: number[]) =>
    handlesOf(backward(given.map(h => (h < 0 ? undefined : new Tensor(h)))), 'customGrad: the results of backward')
  if (
    !native.custom(
      handles,
      outputs.map(t => t.handle),
      gradient,
    )
  )
    throwLast()
  return outputs
}
