import { isPlainObject } from '../objects'
import type { Tensor } from '../tensor'
import { Module } from './module'
import type { Regularizer } from './regularizers'

/** What a constructor takes, as far as it can be written to a file: plain data and modules. */
export type ConfigValue =
  | null
  | undefined
  | boolean
  | number
  | string
  | Module
  | readonly ConfigValue[]
  | { readonly [key: string]: ConfigValue }

/** The most layers that one module makes by a number, so that a wrong one, in a file too, ends in an error rather than never. */
export const mostLayers = 10_000

/** Options that every layer with weights takes. */
export interface WeightOptions {
  /** A penalty on the weights (not on biases), which training adds to the loss. */
  regularizer?: Regularizer
}

/** A module that is defined by the arguments of its constructor, and can therefore be saved with its architecture. */
export abstract class Layer extends Module {
  readonly #config: readonly ConfigValue[]

  /** Subclasses pass on the arguments of their own constructor. */
  constructor(...args: readonly unknown[]) {
    super()
    const last = args.at(-1)
    const options = isPlainObject(last) ? cleaned(last) : {}
    this.regularizer = (last as WeightOptions | undefined)?.regularizer
    const positional = isPlainObject(last) || last === undefined ? args.slice(0, -1) : args
    this.#config = [...positional, ...(Object.keys(options).length > 0 ? [options] : [])] as ConfigValue[]
  }

  /** Arguments of the constructor that make a module like this one. */
  config(): readonly ConfigValue[] {
    return this.#config
  }

  override extraRepr(): string {
    return this.#config
      .flatMap(value => {
        if (!isPlainObject(value)) return [brief(value)]
        return Object.entries(value).map(([name, v]) => `${name}=${brief(v)}`)
      })
      .join(', ')
  }

  /** The name that error messages begin with. */
  protected get label(): string {
    return this.constructor.name
  }

  // biome-ignore lint/suspicious/noExplicitAny: tensors, and options of some layers
  abstract override forward(...inputs: any[]): Tensor
}

/** Options that were given; the regularizer is kept on the module. */
function cleaned(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([name, v]) => v !== undefined && name !== 'regularizer'))
}

function brief(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(brief)}]` : String(value)
}
