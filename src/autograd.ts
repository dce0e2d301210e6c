import { currentRecording } from './capturing'
import { AnnealError } from './errors'
import { currentMode, withMode } from './mode'
import { checked, native, throwLast } from './native'
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
 * @throws ERR_GRADIENT for an input that does not require a gradient.
 */
export function gradients(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  options: GradientOptions = {},
): (Tensor | undefined)[] {
  const { retainGraph = false, createGraph = false, gradOutputs = [] } = options
  const result = native.gradients(
    outputs.map(t => t.handle),
    outputs.map((_, i) => gradOutputs[i]?.handle ?? -1),
    inputs.map(t => t.handle),
    retainGraph,
    createGraph,
  )
  if (!result) throwLast()
  return result.map(handle => (handle < 0 ? undefined : new Tensor(handle)))
}

/** Which arguments of a function to differentiate by. Default: all that are floating-point tensors. */
export interface GradOptions {
  argnums?: readonly number[]
}

type Arguments = readonly unknown[]

/**
 * A function that gives the value of `fn`, a scalar tensor, and its gradients with respect to the arguments. It can be
 * differentiated itself, for higher orders.
 */
export function valueAndGrad<A extends Arguments>(
  fn: (...args: A) => Tensor,
  options: GradOptions = {},
): (...args: A) => [value: Tensor, grads: Tensor[]] {
  return (...args) =>
    enableGrad(() => {
      const wanted =
        options.argnums ?? args.flatMap((a, i) => (a instanceof Tensor && a.dtype.includes('float') ? [i] : []))
      const higher = wanted.some(i => (args[i] as Tensor).requiresGrad)
      const inputs = [...args] as unknown[]
      for (const i of wanted) {
        const given = args[i]
        if (!(given instanceof Tensor)) {
          throw new AnnealError(
            'ERR_VALUE',
            `grad: argument ${i} is not a tensor; say with argnums which arguments are`,
          )
        }
        inputs[i] = given.requiresGrad ? given : given.detach().requireGrad()
      }
      const value = fn(...(inputs as unknown as A))
      const leaves = wanted.map(i => inputs[i] as Tensor)
      const found = gradients([value], leaves, { createGraph: higher })
      return [value, found.map((g, i) => g ?? leaves[i]!.mul(0))]
    })
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
 * nothing flows back) and returns those of the inputs.
 */
export function customGrad(
  inputs: readonly Tensor[],
  forward: (...inputs: Tensor[]) => Tensor[],
  backward: (grads: (Tensor | undefined)[]) => (Tensor | undefined)[],
): Tensor[] {
  const outputs = noGrad(() => forward(...inputs)).map(t => t.detach())
  if (!gradEnabled() || !inputs.some(t => t.requiresGrad)) return outputs
  const gradient = (handles: number[]) =>
    backward(handles.map(h => (h < 0 ? undefined : new Tensor(h)))).map(t => t?.handle ?? -1)
  if (
    !native.custom(
      inputs.map(t => t.handle),
      outputs.map(t => t.handle),
      gradient,
    )
  )
    throwLast()
  return outputs
}

/**
 * Runs `fn` without keeping what its gradient needs, and once more when the gradient is wanted: memory for time
 * (Chen et al., 2016). Random numbers are the same in both runs. Parameters used inside get their gradients too.
 */
export function checkpoint(fn: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): Tensor {
  if (!gradEnabled()) return fn(...inputs)
  const [seed, offset] = native.generator()
  const output = noGrad(() => fn(...inputs)).detach()
  // A leaf of no use but to make the result depend on something, should only parameters inside `fn` require gradients.
  const anchor = inputs.some(t => t.requiresGrad)
    ? []
    : [new Tensor(checked(native.detach(output.handle))).requireGrad()]
  const gradient = (handles: number[]) => {
    const after = native.generator()
    native.generator(seed, offset)
    // In a captured function the second computation is not to be shared with the first.
    const region = currentRecording() ? native.captureRegion(-1) : 0
    const again = inputs.map(t => (t.requiresGrad ? t.detach().requireGrad() : t.detach()))
    const result = enableGrad(() => fn(...again))
    native.generator(...after)
    result.backward(new Tensor(handles[0]!))
    if (currentRecording()) native.captureRegion(region)
    return [...again.map(t => t.grad?.handle ?? -1), ...anchor.map(() => -1)]
  }
  const all = [...inputs, ...anchor]
  if (
    !native.custom(
      all.map(t => t.handle),
      [output.handle],
      gradient,
    )
  )
    throwLast()
  return output
}
