import type { Dataset, DatasetState } from '../data'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { resolveMetric } from '../metrics'
import type { Metric } from '../metrics/metric'
import type { Module } from '../nn/module'
import { clipGradNorm, clipGradValue, resolveOptimizer } from '../optim'
import type { Optimizer } from '../optim/optimizer'
import type { Tensor } from '../tensor'
import { examplesIn, forwardOf } from './bundle'
import type { Training } from './callback'
import { trainingBatch } from './feed'
import { History } from './history'
import { Means, Meters } from './meter'
import { Objective, paired, weightsOfClasses } from './objective'
import type { Logs } from './progress'
import { restoreTraining, saveTraining } from './resume'
import type { CompileOptions, FitOptions } from './types'

/** A compiled model: what its training goes by. */
export interface Compiled {
  readonly optimizer: Optimizer
  readonly objective: Objective
  meters(): Meters
}

export function compile(model: Module, options: CompileOptions): Compiled {
  const optimizer = typeof options.optimizer === 'string' ? resolveOptimizer(options.optimizer) : options.optimizer
  if (!optimizer.attached) optimizer.attach(model.parameters())
  const metrics = namedMetrics(options.metrics ?? [])
  return { optimizer, objective: new Objective(options), meters: () => new Meters(metrics) }
}

function namedMetrics(metrics: NonNullable<CompileOptions['metrics']>): Meters['metrics'] {
  const perOutput = Array.isArray(metrics)
    ? { '': metrics as readonly (string | Metric)[] }
    : (metrics as Record<string, readonly (string | Metric)[]>)
  return Object.entries(perOutput).flatMap(([key, list]) =>
    list.map(one => {
      const metric = typeof one === 'string' ? resolveMetric(one) : one
      return { key, name: key ? `${key}.${metric.name}` : metric.name, metric }
    }),
  )
}

// Steps whose values may still be outstanding: the pipeline stays full, and memory bounded.
const inFlight = 2

/** Options of a fit with what was decided about them. */
export interface RunOptions extends FitOptions {
  readonly seed: number
  /** Whether batches were made for this fit, which then disposes of them. */
  readonly ownsBatches: boolean
}

/** One fit: its batches, updates and what is told to callbacks. */
export class Fit implements Training {
  history = new History()
  step = 0
  epoch = 0
  readonly #means = new Means()
  readonly #meters: Meters
  readonly #pending: Promise<Logs>[] = []
  #accumulated = 0
  #stopped = false
  #position: DatasetState = { epoch: 0, skip: 0 }

  constructor(
    readonly model: Module,
    readonly compiled: Compiled,
    readonly options: RunOptions,
  ) {
    this.#meters = compiled.meters()
  }

  get learningRate(): number {
    return this.compiled.optimizer.lr
  }

  stop(reason: string): void {
    this.#stopped = true
    this.history.stopped = reason
  }

  async save(folder: string): Promise<void> {
    await saveTraining(folder, this, {
      position: this.#position,
      means: await this.#means.state(),
      meters: this.#meters,
    })
  }

  /** Continues from a checkpoint, if there is one. */
  async resume(folder: string): Promise<void> {
    const saved = await restoreTraining(folder, this, this.#meters)
    if (!saved) return
    this.#position = saved.position
    this.#means.restore(saved.means)
    this.epoch = saved.position.epoch
    this.step = this.compiled.optimizer.steps
  }

  /** Goes through the epochs that remain; `validate` gives the values of an evaluation, if there is one. */
  async run(data: Dataset<unknown>, epochs: number, validate: () => Promise<Logs>): Promise<void> {
    const base = this.compiled.optimizer.lr
    while (this.epoch < epochs && !this.#stopped) {
      await this.#tell('epochStart')
      const lr = this.compiled.optimizer.lr
      const logs = { ...(await this.#trainEpoch(data, base)), ...(await validate()), lr }
      this.#position = { epoch: this.epoch + 1, skip: 0 }
      this.#means.reset()
      this.#meters.reset()
      this.history.add(logs)
      this.options.schedule?.epochEnd?.(logs)
      for (const callback of this.options.callbacks ?? []) await callback.epochEnd?.(this, logs)
      this.epoch++
    }
  }

  async #tell(moment: 'epochStart'): Promise<void> {
    for (const callback of this.options.callbacks ?? []) await callback[moment]?.(this)
  }

  async #trainEpoch(data: Dataset<unknown>, base: number): Promise<Logs> {
    this.model.train()
    const pass = data.iterate({ ...this.#position, signal: this.options.signal })
    let batches = this.#position.skip
    for await (const element of pass) {
      const batch = trainingBatch(element)
      const updated = this.#trainStep(batch, base)
      this.#position = pass.state()
      batches++
      await this.#throttle(updated)
    }
    if (batches === 0) throw new AnnealError('ERR_VALUE', 'fit: the data gave no batches')
    this.#update(base)
    this.#pending.length = 0
    return { ...(await this.#means.values()), ...(await this.#meters.values()) }
  }

  /** Forward and backward for one batch, and the update when enough have come together. */
  #trainStep([inputs, targets, given]: ReturnType<typeof trainingBatch>, base: number): boolean {
    const { objective } = this.compiled
    const { classWeight, accumulate = 1 } = this.options
    scope(() => {
      const outputs = forwardOf(this.model, inputs)
      const ofClasses = classWeight ? weightsOfClasses(targets, classWeight) : undefined
      const weights = given && ofClasses ? given.mul(ofClasses) : (given ?? ofClasses)
      const { total, parts } = objective.compute(outputs, targets, weights)
      const penalty = this.model.regularization()
      const loss = penalty ? total.add(penalty) : total
      const scaled = accumulate > 1 ? loss.mul(1 / accumulate) : loss
      scaled.backward()
      const named = parts.map(([key, part]): [string, Tensor] => [`${key}.loss`, part])
      this.#means.add([['loss', loss], ...named], examplesIn(inputs, 'inputs'))
      this.#meters.update(paired(outputs, targets))
    })
    if (this.options.ownsBatches) disposeAll([inputs, targets, given])
    this.#accumulated++
    return this.#accumulated >= accumulate && this.#update(base)
  }

  #update(base: number): boolean {
    if (this.#accumulated === 0) return false
    const { optimizer } = this.compiled
    const { clipNorm, clipValue, schedule } = this.options
    if (schedule) optimizer.lr = base * schedule.factor(this.step, this.epoch)
    scope(() => {
      if (clipValue !== undefined) clipGradValue(optimizer.parameters(), clipValue)
      if (clipNorm !== undefined) clipGradNorm(optimizer.parameters(), clipNorm)
      optimizer.step()
    })
    optimizer.zeroGrad()
    this.#accumulated = 0
    this.step++
    return true
  }

  /** Waits for the values of a step some way back, and tells callbacks. */
  async #throttle(updated: boolean): Promise<void> {
    const values = this.#means.values()
    values.catch(() => {}) // awaited some steps later, or not at all when something else fails first
    this.#pending.push(values)
    const logs = this.#pending.length > inFlight ? await this.#pending.shift()! : undefined
    if (!updated || !logs) return
    for (const callback of this.options.callbacks ?? []) await callback.stepEnd?.(this, logs)
  }
}

/** Batches belong to the fit that asked for them. */
function disposeAll(bundles: readonly unknown[]): void {
  for (const bundle of bundles) {
    if (bundle === null || typeof bundle !== 'object') continue
    if ('dispose' in bundle) (bundle as Tensor).dispose()
    else disposeAll(Object.values(bundle))
  }
}
