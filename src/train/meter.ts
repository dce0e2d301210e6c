import { tensor } from '../creation'
import { AnnealError } from '../errors'
import type { Plain } from '../io/json'
import { scope } from '../lifetime'
import type { Metric } from '../metrics/metric'
import { stack } from '../ops.generated'
import { Buffer, type Tensor } from '../tensor'
import type { Logs } from './progress'

export interface MeansState {
  readonly weight: number
  readonly sums: Readonly<Record<string, number>>
}

/** Weighted running means of scalars, kept on the device so that nothing waits for values. */
export class Means {
  #names: readonly string[] = []
  #sums: Buffer | undefined
  #weight = 0

  reset(): void {
    this.#sums?.dispose()
    this.#sums = undefined
    this.#weight = 0
  }

  /** Adds scalars, by the same names each time. */
  add(values: readonly [string, Tensor][], weight: number): void {
    const scalars = values.map(([, value]) => value.detach().reshape([1]))
    const now = (scalars.length > 1 ? stack(scalars) : scalars[0]!).reshape([-1]).cast('float64').mul(weight)
    if (this.#sums) {
      this.#sums.assign(this.#sums.add(now))
    } else {
      this.#sums = new Buffer(now)
      this.#names = values.map(([name]) => name)
    }
    this.#weight += weight
  }

  /** The means so far; later additions do not change what this gives. */
  async values(): Promise<Logs> {
    const { weight, sums } = await this.state()
    return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / weight]))
  }

  async state(): Promise<MeansState> {
    if (!this.#sums) return { weight: 0, sums: {} }
    const [names, weight] = [this.#names, this.#weight]
    const sums = await this.#sums.data()
    return { weight, sums: Object.fromEntries(names.map((name, i) => [name, Number(sums[i])])) }
  }

  restore({ weight, sums }: MeansState): void {
    this.reset()
    this.#weight = weight
    this.#names = Object.keys(sums)
    if (weight > 0) this.#sums = scope(() => new Buffer(tensor(Float64Array.from(Object.values(sums)))))
  }
}

/** A metric of one output, with the name that it has in logs. */
export interface Meter {
  readonly key: string
  readonly name: string
  readonly metric: Metric
  /** The object given to `compile`, which takes over the result of an evaluation. */
  readonly given?: Metric
}

/** Metrics by output. */
export class Meters {
  #checked = false

  constructor(readonly metrics: readonly Meter[]) {}

  reset(): void {
    for (const { metric } of this.metrics) metric.reset()
  }

  update(pairs: readonly [string, Tensor, Tensor][]): void {
    if (!this.#checked) this.#check(pairs.map(([key]) => key))
    for (const { key, metric } of this.metrics) {
      const [, output, target] = pairs.find(([k]) => k === key)!
      scope(() => metric.update(output.detach(), target))
    }
  }

  #check(outputs: readonly string[]): void {
    const stray = this.metrics.find(({ key }) => !outputs.includes(key))
    if (stray) {
      const what = stray.key ? `metrics for '${stray.key}', which is no output` : 'one list of metrics'
      throw new AnnealError(
        'ERR_VALUE',
        `compile: ${what}; the outputs are ${outputs.map(key => `'${key}'`).join(', ')}: give a list of metrics for each`,
      )
    }
    this.#checked = true
  }

  /** The values so far, by name; `quick` leaves out metrics that are dear to compute. */
  async values({ quick = false } = {}): Promise<Logs> {
    const wanted = quick ? this.metrics.filter(({ metric }) => !metric.costly) : this.metrics
    const pending = wanted.map(async ({ name, metric }): Promise<[string, number]> => [name, await metric.result()])
    return Object.fromEntries(await Promise.all(pending))
  }

  /** Gives the objects given to `compile` the state of these. */
  async handOver(): Promise<void> {
    await Promise.all(this.metrics.map(async ({ metric, given }) => given?.restore(await metric.state())))
  }

  async state(): Promise<Record<string, Plain>> {
    const pending = this.metrics.map(async ({ name, metric }): Promise<[string, Plain]> => [name, await metric.state()])
    return Object.fromEntries(await Promise.all(pending))
  }

  restore(state: Readonly<Record<string, Plain>>): void {
    for (const { name, metric } of this.metrics) if (name in state) metric.restore(state[name]!)
  }
}
