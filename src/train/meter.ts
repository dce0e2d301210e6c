import { scope } from '../lifetime'
import type { Metric } from '../metrics/metric'
import { Buffer, type Tensor, tensor } from '../tensor'
import type { Logs } from './progress'

/** Weighted running means of scalars, kept on the device so that nothing waits for values. */
export class Means {
  #sums = new Map<string, Buffer>()
  #weight = 0

  reset(): void {
    for (const sum of this.#sums.values()) sum.dispose()
    this.#sums.clear()
    this.#weight = 0
  }

  add(values: readonly [string, Tensor][], weight: number): void {
    for (const [name, value] of values) {
      let sum = this.#sums.get(name)
      if (!sum) {
        sum = new Buffer(tensor(0, { dtype: 'float64' }))
        this.#sums.set(name, sum)
      }
      sum.assign(sum.add(value.detach().cast('float64').mul(weight)))
    }
    this.#weight += weight
  }

  /** The means so far; later additions do not change what this gives. */
  async values(): Promise<Logs> {
    const weight = this.#weight
    const pending = [...this.#sums].map(
      async ([name, sum]): Promise<[string, number]> => [name, (await sum.item()) / weight],
    )
    return Object.fromEntries(await Promise.all(pending))
  }

  async state(): Promise<{ weight: number; sums: Record<string, number> }> {
    const pending = [...this.#sums].map(async ([name, sum]): Promise<[string, number]> => [name, await sum.item()])
    return { weight: this.#weight, sums: Object.fromEntries(await Promise.all(pending)) }
  }

  restore({ weight, sums }: { weight: number; sums: Record<string, number> }): void {
    this.reset()
    this.#weight = weight
    for (const [name, sum] of Object.entries(sums)) this.#sums.set(name, new Buffer(tensor(sum, { dtype: 'float64' })))
  }
}

/** Metrics by output key, with the names that they have in logs. */
export class Meters {
  constructor(readonly metrics: readonly { key: string; name: string; metric: Metric }[]) {}

  reset(): void {
    for (const { metric } of this.metrics) metric.reset()
  }

  update(pairs: readonly [string, Tensor, Tensor][]): void {
    for (const { key, metric } of this.metrics) {
      const pair = pairs.find(([k]) => k === key)
      if (pair) scope(() => metric.update(pair[1].detach(), pair[2]))
    }
  }

  async values(): Promise<Logs> {
    const pending = this.metrics.map(
      async ({ name, metric }): Promise<[string, number]> => [name, await metric.result()],
    )
    return Object.fromEntries(await Promise.all(pending))
  }
}
