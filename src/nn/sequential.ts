import { AnnealError } from '../errors'
import type { Tensor } from '../tensor'
import type { Bundle } from '../train/types'
import type { ConfigValue } from './layer'
import { Module } from './module'

/**
 * Modules run one after the other; the first takes all inputs. Parameters are named by position: `0.weight`, `2.bias`.
 *
 *     const model = new Sequential(new Linear(30, 128), new ReLU(), new Linear(128, 1))
 *
 * `Output` is what the last module gives, where that is not one tensor.
 */
export class Sequential<Output = Tensor> extends Module {
  [index: number]: Module
  #length = 0

  constructor(...modules: Module[] | [readonly Module[]]) {
    super()
    this.append(...(modules.flat() as Module[]))
  }

  get length(): number {
    return this.#length
  }

  /** The module at `index`; negative indices count from the end. Throws ERR_INDEX where there is none. */
  get(index: number): Module {
    const module = this[index < 0 ? index + this.#length : index]
    if (module) return module
    throw new AnnealError('ERR_INDEX', `Sequential: no module at ${index}; there are ${this.#length}`)
  }

  /** Adds modules at the end. Returns itself. */
  append(...modules: readonly Module[]): this {
    for (const module of modules) {
      if (!(module instanceof Module)) {
        throw new AnnealError('ERR_VALUE', `Sequential: expected modules; got ${typeof module} at ${this.#length}`)
      }
      this[this.#length++] = module
    }
    return this
  }

  *[Symbol.iterator](): Generator<Module> {
    for (let i = 0; i < this.#length; i++) yield this[i]!
  }

  forward(...inputs: Bundle[]): Output {
    if (this.#length === 0) return inputs[0] as Output
    let output = this[0]!.forward(...inputs)
    for (let i = 1; i < this.#length; i++) output = this[i]!.forward(output)
    return output
  }

  config(): readonly ConfigValue[] {
    return [...this]
  }
}
