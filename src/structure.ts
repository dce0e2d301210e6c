// Arguments and results of captured functions: tensors within arrays and plain objects.
import { AnnealError } from './errors'
import { isPlainObject } from './objects'
import { Parameter, Tensor } from './tensor'

const identities = new WeakMap<object, number>()
let nextIdentity = 0

/** A number of this parameter's or function's own. Handles are used again when their tensors are gone. */
function identityOf(object: object): number {
  const known = identities.get(object)
  if (known !== undefined) return known
  identities.set(object, nextIdentity)
  return nextIdentity++
}

const deepest = 100

/** What a call's arguments look like but for the values of tensors, which go to `tensors` in order. */
export function structureOf(value: unknown, tensors: Tensor[], depth = 0): string {
  if (depth > deepest) {
    throw new AnnealError(
      'ERR_VALUE',
      `compile: arguments lie in each other ${deepest} levels deep, or contain themselves`,
    )
  }
  const within = (v: unknown) => structureOf(v, tensors, depth + 1)
  if (value instanceof Parameter) return `parameter ${identityOf(value)}`
  if (value instanceof Tensor) {
    tensors.push(value)
    return 'tensor'
  }
  if (typeof value === 'function') return `function ${identityOf(value)}`
  if (Array.isArray(value)) return `[${value.map(within).join()}]`
  if (isPlainObject(value)) {
    const entries = Object.entries(value)
    return `{${entries.map(([key, v]) => `${JSON.stringify(key)}:${within(v)}`).join()}}`
  }
  if (typeof value === 'string') return JSON.stringify(value)
  if (value === null || (typeof value !== 'object' && typeof value !== 'symbol'))
    return `${typeof value} ${String(value)}`
  throw notPlain('arguments', value)
}

/** What a value is, for messages. */
export function nameOf(value: unknown): string {
  return value !== null && typeof value === 'object' ? (value.constructor?.name ?? 'an object') : String(value)
}

function notPlain(what: string, value: unknown): AnnealError {
  return new AnnealError(
    'ERR_VALUE',
    `compile: ${what} are tensors, plain values, or arrays and plain objects of them; got ${nameOf(value)}`,
  )
}

/** The same structure with other tensors, in order. */
export function replaceTensors(value: unknown, tensors: Iterator<Tensor>): unknown {
  if (value instanceof Tensor && !(value instanceof Parameter)) return tensors.next().value
  if (Array.isArray(value)) return value.map(v => replaceTensors(v, tensors))
  if (!isPlainObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, replaceTensors(v, tensors)]))
}

/** Puts the tensors of a result into `tensors`, and gives the function that puts others into their places. */
export function templateOf(value: unknown, tensors: Tensor[]): (results: readonly Tensor[]) => unknown {
  if (value instanceof Tensor) {
    const at = tensors.push(value) - 1
    return results => results[at]
  }
  if (Array.isArray(value)) {
    const parts = value.map(v => templateOf(v, tensors))
    return results => parts.map(part => part(results))
  }
  if (!isPlainObject(value)) {
    if (value !== null && typeof value === 'object') throw notPlain('results', value)
    return () => value
  }
  const parts = Object.entries(value).map(([key, v]) => [key, templateOf(v, tensors)] as const)
  return results => Object.fromEntries(parts.map(([key, part]) => [key, part(results)]))
}
