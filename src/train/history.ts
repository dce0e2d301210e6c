import { AnnealError } from '../errors'
import type { Logs } from './progress'

/** The values of each epoch, by name. */
export class History {
  readonly metrics: Record<string, number[]> = {}
  /** Why the fit ended before its last epoch. */
  stopped: string | undefined

  /** Epochs completed. */
  get epochs(): number {
    return this.metrics.loss?.length ?? 0
  }

  /** @internal */
  add(logs: Logs): void {
    for (const [name, value] of Object.entries(logs)) {
      this.metrics[name] ??= []
      this.metrics[name].push(value)
    }
  }

  /** The best value of a metric and its epoch, from 0. `mode` says whether less or more is better. */
  best(name: string, mode: 'min' | 'max' = betterOf(name)): { value: number; epoch: number } {
    const values = this.metrics[name]
    if (!values?.length) {
      throw new AnnealError(
        'ERR_VALUE',
        `history: there is no '${name}'; recorded are ${Object.keys(this.metrics).join(', ')}`,
      )
    }
    const value = values.reduce((a, b) => (isBetter(b, a, mode) ? b : a))
    return { value, epoch: values.findIndex(v => Object.is(v, value)) }
  }
}

/** Whether less or more of a metric is better, from its name: losses and errors are to be small. */
export function betterOf(name: string): 'min' | 'max' {
  return /loss|error|mae|mse|perplexity/i.test(name) ? 'min' : 'max'
}

export function isBetter(value: number, than: number, mode: 'min' | 'max', minDelta = 0): boolean {
  if (Number.isNaN(than)) return !Number.isNaN(value)
  return mode === 'min' ? value < than - minDelta : value > than + minDelta
}
