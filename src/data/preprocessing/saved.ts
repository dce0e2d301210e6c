import { AnnealError } from '../../errors'
import { describe } from '../ndarray'

/** Reads the fields of a saved step, which may come from anywhere, and says which one is broken. */
export class SavedFields {
  readonly #fields: Record<string, unknown>

  constructor(value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new AnnealError('ERR_FORMAT', `preprocessing: expected a saved step, got ${describe(value)}`)
    }
    this.#fields = value as Record<string, unknown>
  }

  get kind(): string {
    return this.read('kind', 'a text', value => typeof value === 'string') as string
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#fields, name) && this.#fields[name] !== undefined
  }

  boolean(name: string): boolean {
    return this.read(name, 'true or false', value => typeof value === 'boolean') as boolean
  }

  choice<C extends string>(name: string, choices: readonly C[]): C {
    return this.read(name, `one of ${choices.join(', ')}`, value => choices.includes(value as C)) as C
  }

  /** An array of finite numbers; `length` where another field sets it. */
  numbers(name: string, length?: number): Float64Array {
    const sized = length === undefined ? '' : `${length} `
    const values = this.read(name, `an array of ${sized}finite numbers`, value => {
      return Array.isArray(value) && (length === undefined || value.length === length) && value.every(Number.isFinite)
    })
    return Float64Array.from(values as number[])
  }

  /** An array of `null` for missing, texts, numbers and booleans. */
  values(name: string): (string | number | boolean | null)[] {
    return this.read(name, 'an array of texts, numbers, booleans or null', isValues) as (
      | string
      | number
      | boolean
      | null
    )[]
  }

  value(name: string): string | number | boolean {
    const check = (value: unknown) => value !== null && isValues([value])
    return this.read(name, 'a text, number or boolean', check) as string | number | boolean
  }

  lists(name: string): (string | number | boolean | null)[][] {
    const check = (value: unknown) => Array.isArray(value) && value.every(isValues)
    return this.read(name, 'an array of arrays of values', check) as (string | number | boolean | null)[][]
  }

  array(name: string): readonly unknown[] {
    return this.read(name, 'an array', Array.isArray) as readonly unknown[]
  }

  texts(name: string): string[] {
    const check = (value: unknown) => Array.isArray(value) && value.every(item => typeof item === 'string')
    return this.read(name, 'an array of texts', check) as string[]
  }

  get(name: string): unknown {
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined
  }

  private read(name: string, expected: string, fits: (value: unknown) => boolean): unknown {
    const value = this.get(name)
    if (fits(value)) return value
    throw new AnnealError(
      'ERR_FORMAT',
      `preprocessing: saved step: expected ${name} to be ${expected}, got ${describe(value)}`,
    )
  }
}

function isValues(value: unknown): boolean {
  const fits = (item: unknown) => {
    return item === null || ['string', 'boolean', 'number'].includes(typeof item)
  }
  return Array.isArray(value) && value.every(fits)
}
