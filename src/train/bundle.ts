import { type AutocastOptions, autocast } from '../autocast'
import type { DeviceName } from '../device'
import { AnnealError } from '../errors'
import type { Module } from '../nn/module'
import { Tensor } from '../tensor'
import type { Bundle } from './types'

/** The tensors of a bundle by key: '' for a lone one, '0', '1' … for a list. Errors begin with `what`. */
export function entriesOf(bundle: Bundle, what: string): [string, Tensor][] {
  if (bundle instanceof Tensor) return [['', bundle]]
  if (bundle !== null && typeof bundle === 'object') {
    const entries = Object.entries(bundle)
    if (entries.length > 0 && entries.every(([, t]) => t instanceof Tensor)) return entries
  }
  throw new AnnealError(
    'ERR_VALUE',
    `${what} must be a tensor, a list of tensors or an object of tensors; got ${shown(bundle)}`,
  )
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.length > 0 ? `a list of ${value.length} (${typeof value[0]})` : 'an empty list'
  return value === null ? 'null' : typeof value
}

/** The number of examples: the common size of the first axes. */
export function examplesIn(bundle: Bundle, what: string): number {
  const sizes = entriesOf(bundle, what).map(([, t]) => t.shape[0])
  if (sizes.includes(undefined)) {
    throw new AnnealError('ERR_SHAPE', `${what}: a scalar has no axis of examples; expected at least one axis`)
  }
  if (sizes.some(n => n !== sizes[0])) {
    throw new AnnealError(
      'ERR_SHAPE',
      `${what}: tensors differ in their number of examples (first axis): ${sizes.join(', ')}`,
    )
  }
  return sizes[0]!
}

/** Throws ERR_SHAPE unless every output has one row for each of the examples. */
export function checkRows(outputs: Bundle, examples: number): void {
  const other = entriesOf(outputs, 'outputs').find(([, t]) => t.shape[0] !== examples)
  if (!other) return
  throw new AnnealError(
    'ERR_SHAPE',
    `outputs: the model gave [${other[1].shape}] for ${examples} examples; expected one row per example along the first ` +
      'axis; give a single example an axis of examples: x.expandDims(0)',
  )
}

/** A bundle of the same form with `fn` of every tensor. */
export function mapBundle<B extends Bundle>(bundle: B, fn: (t: Tensor, key: string) => Tensor): B {
  if (bundle instanceof Tensor) return fn(bundle, '') as unknown as B
  const mapped = entriesOf(bundle, 'data').map(([key, t]): [string, Tensor] => [key, fn(t, key)])
  return (Array.isArray(bundle) ? mapped.map(([, t]) => t) : Object.fromEntries(mapped)) as unknown as B
}

/**
 * A bundle on a device: what lies elsewhere is copied there. From the CPU to a GPU copies pass through pinned memory on a stream of their
 * own, beside what the GPU computes for the batches before.
 */
export function placed<B extends Bundle | undefined>(bundle: B, device: DeviceName | undefined): B {
  if (!bundle || !device) return bundle
  return mapBundle(bundle, t => (t.device === device ? t : t.to(device))) as B
}

/** The GPU that a model lies on, to which its batches are moved; undefined on the CPU. */
export function gpuOf(model: Module): DeviceName | undefined {
  const device = model.parameters()[0]?.device
  return device === 'cpu' ? undefined : device
}

/** Examples `start` to `end` as views. */
export function sliced<B extends Bundle>(bundle: B, start: number, end: number): B {
  return mapBundle(bundle, t => t.index({ start, end }))
}

export function disposeAll(bundles: readonly (Bundle | undefined)[]): void {
  for (const bundle of bundles) if (bundle) for (const [, t] of entriesOf(bundle, 'data')) t.dispose()
}

/** Calls the model: a list of inputs as arguments, anything else as the only one. */
export function forwardOf(model: Module, inputs: Bundle, precision?: AutocastOptions): Bundle {
  if (precision) return autocast(() => forwardOf(model, inputs), precision)
  const output: unknown = Array.isArray(inputs) ? model.forward(...inputs) : model.forward(inputs)
  if (output instanceof Promise) {
    output.catch(() => {}) // what it may reject with is no news beside this error
    throw new AnnealError(
      'ERR_VALUE',
      'model: forward() must not be async: reading values inside of it would stop the pipeline',
    )
  }
  return output as Bundle
}

/**
 * Runs `fn` with modules in evaluation mode. Synchronous, so that nothing else, be it a fit or another prediction that
 * runs meanwhile, ever sees the mode.
 */
export function inEvaluation<R>(modules: readonly Module[], fn: () => R): R {
  const training = modules.filter(module => module.training)
  for (const module of training) module.training = false
  try {
    return fn()
  } finally {
    for (const module of training) module.training = true
  }
}

/** The entry of a setting for one output: the same for all, or its own. */
export function settingFor<T>(
  setting: T | readonly T[] | Readonly<Record<string, T>>,
  key: string,
  isOne: (v: unknown) => boolean,
): T | undefined {
  if (isOne(setting)) return setting as T
  return (setting as Readonly<Record<string, T>>)[key]
}
