import { noGrad } from '../autograd'
import { give } from '../call'
import { everyRun, refuseWhileCapturing } from '../capturing'
import { live } from '../compile'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { Buffer, Parameter, type Tensor } from '../tensor'
import { flag, listOf, settled, upTo1 } from './check'

export interface EmaOptions {
  /** How much of the average is kept at an update. Default: 0.999. */
  decay?: number
  /** Whether early updates weigh more: the decay is at most (1 + n) / (10 + n) at update n. Default: false. */
  warmUp?: boolean
}

/**
 * An exponential moving average of weights (Polyak & Juditsky, 1992): call `update()` after each step, and evaluate inside
 * of `swapped()`, where the parameters have the averages' values.
 */
export class ExponentialMovingAverage {
  readonly #averages: Map<Parameter, Buffer>
  readonly #decay: number
  readonly #warmUp: boolean
  #updates = 0

  /** @throws ERR_VALUE for what are no parameters, and for options that cannot be. */
  constructor(parameters: Iterable<Parameter>, options: EmaOptions = {}) {
    const owner = 'ExponentialMovingAverage'
    const rules = { decay: upTo1, warmUp: flag }
    const { decay, warmUp } = settled<Required<EmaOptions>>(owner, rules, { decay: 0.999, warmUp: false }, options)
    const list = listOf(owner, Parameter, parameters)
    if (list.length === 0) throw new AnnealError('ERR_VALUE', `${owner}: got no parameters`)
    this.#averages = new Map(list.map(p => [p, new Buffer(p)]))
    this.#decay = decay
    this.#warmUp = warmUp
  }

  /** Takes the parameters' values of now into the averages. */
  update(): void {
    const decay = () => {
      const n = this.#updates
      return this.#warmUp ? Math.min(this.#decay, (1 + n) / (10 + n)) : this.#decay
    }
    const [kept, taken] = [live(decay), live(() => 1 - decay())]
    everyRun(
      () => this.#updates++,
      () => this.#updates--,
    )
    noGrad(() => {
      for (const [parameter, average] of this.#averages) {
        scope(() => give(average, average.mul(kept).add(parameter.mul(taken))))
      }
    })
  }

  /** The averages, in the order of the parameters. */
  averages(): Tensor[] {
    return [...this.#averages.values()]
  }

  /** Runs `fn` while the parameters have the averages' values; they get their own back afterwards. */
  swapped<R>(fn: () => R | Promise<R>): Promise<R> {
    refuseWhileCapturing('swapped()')
    return this.#swapped(fn)
  }

  async #swapped<R>(fn: () => R | Promise<R>): Promise<R> {
    const own = [...this.#averages.keys()].map(parameter => parameter.detach())
    for (const [parameter, average] of this.#averages) parameter.assign(average)
    try {
      return await fn()
    } finally {
      for (const [i, parameter] of [...this.#averages.keys()].entries()) {
        parameter.assign(own[i]!)
        own[i]!.dispose()
      }
    }
  }
}
