import { AnnealError } from '../errors'
import { shown } from '../nn/check'

/** Checks of what optimizers and schedules are given; `owner` is the name that messages begin with. */

/** What an option must be, in words, and whether a value is that beside the other options. */
export interface Rule {
  readonly expected: string
  readonly holds: (value: unknown, options?: object) => boolean
}

/** Rules by the name of the option. */
export type Rules = Readonly<Record<string, Rule>>

const isNumber = (value: unknown): value is number => Number.isFinite(value)

export const atLeast = (low: number): Rule => ({
  expected: `a finite number of ${low} or more`,
  holds: value => isNumber(value) && value >= low,
})

export const above0: Rule = { expected: 'a finite number above 0', holds: value => isNumber(value) && value > 0 }

export const upTo1: Rule = {
  expected: 'a number from 0 to 1',
  holds: value => isNumber(value) && value >= 0 && value <= 1,
}

export const below1: Rule = {
  expected: 'a number from 0 to below 1',
  holds: value => isNumber(value) && value >= 0 && value < 1,
}

export const wholeFrom = (low: number): Rule => ({
  expected: `a whole number of ${low} or more`,
  holds: value => Number.isSafeInteger(value) && (value as number) >= low,
})

export const flag: Rule = { expected: 'true or false', holds: value => typeof value === 'boolean' }

/** Throws ERR_VALUE unless the options of these names are what the rules for them say, if there are any. */
export function check(owner: string, rules: Rules, options: object, names = Object.keys(options)): void {
  for (const name of names) {
    const value = (options as Record<string, unknown>)[name]
    const rule = rules[name]
    if (!rule || rule.holds(value, options)) continue
    throw new AnnealError('ERR_VALUE', `${owner}: ${name} must be ${rule.expected}; got ${shown(value)}`)
  }
}

/**
 * The options given over the defaults, all of which are named (undefined: there is none), in lists of their own. What is
 * undefined counts as left out.
 * @throws ERR_VALUE for options that there are not, and for values against the rules.
 */
export function settled<O extends object>(
  owner: string,
  rules: Rules,
  defaults: { readonly [K in keyof O]: O[K] | undefined },
  given: Partial<O>,
): O {
  if (typeof given !== 'object' || given === null)
    throw new AnnealError('ERR_VALUE', `${owner}: expected an object of options; got ${shown(given)}`)
  const unknown = Object.keys(given).find(name => !Object.hasOwn(defaults, name))
  if (unknown !== undefined) {
    const known = Object.keys(defaults).join(', ')
    throw new AnnealError('ERR_VALUE', `${owner}: there is no option '${unknown}'; there are ${known}`)
  }
  const said = Object.entries(given).filter(([, value]) => value !== undefined)
  const all = { ...defaults, ...Object.fromEntries(said) } as O
  check(owner, rules, all)
  return copied(all)
}

/** The same options, in lists of their own. */
export function copied<O extends object>(options: O): O {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => [name, Array.isArray(value) ? [...value] : value]),
  ) as O
}

/**
 * The elements of `given`, each of this class.
 * @throws ERR_VALUE where it cannot be gone through, or an element is something else.
 */
export function listOf<T>(owner: string, kind: abstract new (...args: never[]) => T, given: Iterable<T>): T[] {
  const refused = (what: unknown, place = '') =>
    new AnnealError(
      'ERR_VALUE',
      `${owner}: expected a list of ${kind.name}, such as those that parameters() of a model gives; got ${named(what)}${place}`,
    )
  if (!isIterable(given)) throw refused(given)
  const list = [...given]
  const wrong = list.findIndex(element => !(element instanceof kind))
  if (wrong >= 0) throw refused(list[wrong], ` at place ${wrong}`)
  return list
}

export function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}

/** A value for messages: objects by the name of their class. */
function named(value: unknown): string {
  const name = typeof value === 'object' && !Array.isArray(value) ? value?.constructor?.name : undefined
  return name === undefined || name === 'Object' ? shown(value) : name
}
