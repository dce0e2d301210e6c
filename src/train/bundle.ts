import { AnnealError } from '../errors'
import type { Module } from '../nn/module'
import { Tensor } from '../tensor'
import type { Bundle } from './types'

/** The tensors of a bundle by key: '' for a lone one, '0', '1' … for a list. */
export function entriesOf(bundle: Bundle, what: string): [string, Tensor][] {
  if (bundle instanceof Tensor) return [['', bundle]]
  if (bundle !== null && typeof bundle === 'object') {
    const entries = Object.entries(bundle)
    if (entries.length > 0 && entries.every(([, t]) => t instanceof Tensor)) return entries
  }
  throw new AnnealError(
    'ERR_VALUE',
    `fit: ${what} must be a tensor, a list of tensors or an object of tensors; got ${shown(bundle)}`,
  )
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length} (${typeof value[0]})`
  return value === null ? 'null' : typeof value
}

/** The number of examples: the common size of the first axes. */
export function examplesIn(bundle: Bundle, what: string): number {
  const sizes = entriesOf(bundle, what).map(([, t]) => t.shape[0])
  if (sizes.some(n => n === undefined || n !== sizes[0])) {
    throw new AnnealError(
      'ERR_SHAPE',
      `fit: ${what}: tensors differ in their number of examples (first axis): ${sizes.join(', ')}`,
    )
  }
  return sizes[0]!
}

/** Calls the model: a list of inputs as arguments, anything else as the only one. */
export function forwardOf(model: Module, inputs: Bundle): Bundle {
  const output: unknown = Array.isArray(inputs) ? model.forward(...inputs) : model.forward(inputs)
  if (output instanceof Promise) {
    throw new AnnealError(
      'ERR_VALUE',
      'fit: forward() must not be async: reading values inside of it would stop the pipeline',
    )
  }
  return output as Bundle
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
