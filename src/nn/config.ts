import { AnnealError } from '../errors'
import { isObject, isPlainObject } from '../objects'
import { shown } from './check'
import type { ConfigValue } from './layer'
import { Module } from './module'
import { quantizedWithin, quantizeWithin } from './quantize'
import type { Regularizer } from './regularizers'

/**
 * A module as plain data: the name of its class and the arguments of its constructor, in which modules stand as such
 * data themselves. A module met before is `{ shared: n }`: the one that was the n-th to begin.
 */
export type ModuleConfig =
  | {
      readonly kind: string
      readonly args: readonly unknown[]
      readonly regularizer?: Regularizer
      /** Modules within that were quantised after the constructor made them. */
      readonly quantized?: readonly string[]
    }
  | { readonly shared: number }

/** A class that {@link fromConfig} may make; without `fromConfig` its constructor takes what `config()` gives. */
export interface ModuleClass {
  readonly name: string
  // biome-ignore lint/suspicious/noExplicitAny: each class has arguments of its own
  new (...args: any[]): Module
  // biome-ignore lint/suspicious/noExplicitAny: each class has arguments of its own
  fromConfig?(...args: any[]): Module
}

const deepest = 500
// JSON has no undefined, which as an argument is not the same as null.
const absent = { kind: 'undefined' }
const classes = new Map<string, ModuleClass>()

/**
 * Makes classes known by their names, so that saved models may contain them. Instances need a `config()` that gives
 * arguments for their constructor. Throws ERR_VALUE for a name that another class has.
 */
export function register(...modules: readonly ModuleClass[]): void {
  for (const one of modules) {
    const present = classes.get(one.name)
    if (present && present !== one) {
      throw new AnnealError('ERR_VALUE', `register: another class is registered as ${one.name}; rename one of them`)
    }
    classes.set(one.name, one)
  }
}

/**
 * The architecture of `module` as JSON; parameters are not in it.
 * @throws ERR_VALUE for a module whose class is not registered or has no `config()`.
 */
export function toConfig(module: Module): ModuleConfig {
  return encode(module, new Map(), module.constructor.name) as ModuleConfig
}

function encode(value: unknown, seen: Map<Module, number>, path: string): unknown {
  if (value === undefined) return absent
  if (value === null || ['boolean', 'number', 'string'].includes(typeof value)) return value
  if (value instanceof Module) return encodeModule(value, seen, path)
  if (Array.isArray(value)) return value.map((item, i) => encode(item, seen, `${path}[${i}]`))
  if (isPlainObject(value)) {
    if ('kind' in value || 'shared' in value) {
      throw new AnnealError('ERR_VALUE', `toConfig: ${path}: the keys kind and shared are reserved; rename the option`)
    }
    const given = Object.entries(value).filter(([, v]) => v !== undefined)
    return Object.fromEntries(given.map(([key, v]) => [key, encode(v, seen, `${path}.${key}`)]))
  }
  throw new AnnealError('ERR_VALUE', `toConfig: ${path}: expected plain data or a module; got ${shown(value)}`)
}

function encodeModule(module: Module, seen: Map<Module, number>, path: string): ModuleConfig {
  const earlier = seen.get(module)
  if (earlier !== undefined) return { shared: earlier }
  const kind = module.constructor.name
  const { config } = module as { config?: () => readonly ConfigValue[] }
  if (typeof config !== 'function' || classes.get(kind) !== module.constructor) {
    throw new AnnealError(
      'ERR_VALUE',
      `toConfig: ${path}: ${kind} cannot be saved with its architecture; give it a method config() that returns the arguments of its constructor, and call nn.register(${kind})`,
    )
  }
  seen.set(module, seen.size)
  const args = config.call(module).map((arg, i) => encode(arg, seen, `${path}[${i}]`))
  const quantized = quantizedWithin(module, seen.keys())
  return {
    kind,
    args,
    ...(module.regularizer ? { regularizer: module.regularizer } : {}),
    ...(quantized.length > 0 ? { quantized } : {}),
  }
}

/**
 * The module that `config` describes, with new parameters. Runs no code but the constructors of registered classes.
 * @throws ERR_FORMAT for what {@link toConfig} does not write, and for an unknown kind.
 */
export function fromConfig(config: ModuleConfig): Module {
  if (!isObject(config) || !('kind' in config)) {
    throw new AnnealError('ERR_FORMAT', `fromConfig: expected an object with a kind; got ${shown(config)}`)
  }
  return decode(config, [], 0) as Module
}

function decode(value: unknown, made: (Module | undefined)[], depth: number): unknown {
  if (depth > deepest) throw new AnnealError('ERR_FORMAT', `fromConfig: more than ${deepest} levels of nesting`)
  if (Array.isArray(value)) return value.map(item => decode(item, made, depth + 1))
  if (!isObject(value)) return value
  if ('shared' in value) {
    const module = typeof value.shared === 'number' ? made[value.shared] : undefined
    if (module) return module
    throw new AnnealError('ERR_FORMAT', `fromConfig: shared: no module ${shown(value.shared)} before it`)
  }
  if (value.kind === absent.kind) return undefined
  if ('kind' in value) return decodeModule(value, made, depth)
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, decode(v, made, depth + 1)]))
}

function decodeModule(value: Record<string, unknown>, made: (Module | undefined)[], depth: number): Module {
  const { kind, args, regularizer, quantized = [] } = value
  const found = typeof kind === 'string' ? classes.get(kind) : undefined
  if (!found) {
    throw new AnnealError(
      'ERR_FORMAT',
      `fromConfig: unknown kind ${shown(kind)}; a class of your own must be registered first: nn.register(${typeof kind === 'string' ? kind : 'Class'})`,
    )
  }
  if (!Array.isArray(args)) throw new AnnealError('ERR_FORMAT', `fromConfig: ${kind}: expected args to be a list`)
  const number = made.push(undefined) - 1
  const decoded = args.map(arg => decode(arg, made, depth + 1))
  const module = construct(found, decoded)
  if (!Array.isArray(quantized))
    throw new AnnealError('ERR_FORMAT', `fromConfig: ${kind}: expected quantized to be a list`)
  if (quantized.length > 0) quantizeWithin(module, new Set(quantized))
  if (regularizer !== undefined) module.regularizer = readRegularizer(regularizer)
  made[number] = module
  return module
}

/** Constructors check what they are given, but for what no program would give them and a broken file may. */
function construct(found: ModuleClass, args: readonly unknown[]): Module {
  try {
    return found.fromConfig ? found.fromConfig(...args) : new found(...args)
  } catch (error) {
    if (error instanceof AnnealError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new AnnealError('ERR_FORMAT', `fromConfig: ${found.name}: the arguments do not fit: ${reason}`, {
      cause: error,
    })
  }
}

function readRegularizer(value: unknown): Regularizer {
  const entries = isObject(value) ? Object.entries(value) : []
  if (entries.length > 0 && entries.every(([key, v]) => ['l1', 'l2'].includes(key) && Number.isFinite(v))) {
    return value as Regularizer
  }
  throw new AnnealError('ERR_FORMAT', `fromConfig: expected a regularizer with l1 and l2; got ${shown(value)}`)
}
