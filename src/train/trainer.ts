import type { TensorLike } from '../call'
import { dependsOn } from '../capturing'
import { live } from '../compile'
import type { Dataset, DatasetState } from '../data'
import type { DeviceName } from '../device'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import type { Module } from '../nn/module'
import { clipGradNorm, clipGradValue } from '../optim'
import type { Parameter, Tensor } from '../tensor'
import { disposeAll, examplesIn, forwardOf, gpuOf, mapBundle, placed } from './bundle'
import type { Callback, Training } from './callback'
import { type Captured, captured } from './capture'
import type { Compiled } from './compile'
import type { Display } from './display'
import { throwIfAborted, trainingBatch } from './feed'
import { History } from './history'
import { Means, type Meters } from './meter'
import { paired } from './objective'
import type { Logs } from './progress'
import { type Saved, saveTraining } from './resume'
import type { Bundle, FitOptions, TrainingBatch } from './types'

// Batches whose values may still be outstanding: the pipeline stays full, and memory bounded.
const inFlight = 2

/** Whether a batch is followed by an update, of as many examples as were expected or not. */
type Update = 'none' | 'even' | 'uneven'

interface BatchResult {
  losses: [string, Tensor][]
  /** Where there are metrics. */
  outputs: Bundle | undefined
}

/** Options of a fit with what was decided about them. */
export interface RunOptions extends FitOptions {
  readonly callbacks: readonly Callback[]
  readonly seed: number
  /** Whether batches were made for this fit, which then disposes of them. */
  readonly ownsBatches: boolean
  readonly display: Display | undefined
}

/** One fit: its batches, updates and what is told to callbacks. */
export class Fit implements Training {
  history = new History()
  step = 0
  epoch = 0
  position: DatasetState = { epoch: 0, skip: 0 }
  /** The learning rates of the optimizer's groups, of which a schedule gives factors. */
  rates: readonly number[]
  readonly means = new Means()
  readonly meters: Meters
  readonly #pending: { step: number; logs: Promise<Logs> }[] = []
  #logs: Logs = {}
  #batch = 0
  // Batches and examples since the last update, and how many examples were expected at the first of them.
  #collected = { batches: 0, examples: 0, expected: 0 }
  // What a batch weighs among those of its update.
  #share = 1
  readonly #gpu: DeviceName | undefined
  readonly #compute: Captured<[Bundle, Bundle, Tensor | undefined, Update], BatchResult>

  constructor(
    readonly model: Module,
    readonly compiled: Compiled,
    readonly options: RunOptions,
  ) {
    this.meters = compiled.meters()
    this.#gpu = gpuOf(model)
    this.rates = compiled.optimizer.groups.map(group => group.lr)
    this.#compute = captured(model, compiled.capture, (...batch) => this.#batchStep(...batch))
  }

  get learningRate(): number {
    return this.compiled.optimizer.lr
  }

  stop(reason: string): void {
    this.history.stopped = reason
  }

  save(folder: string): Promise<void> {
    return saveTraining(folder, this)
  }

  /** Takes up where a saved fit stood. */
  resume(saved: Saved): void {
    saved.restore(this)
    this.epoch = this.position.epoch
  }

  /** Goes through the epochs that remain; `validate` gives the values of an evaluation, if there is one. */
  async run(data: Dataset<unknown>, epochs: number, validate: () => Promise<Logs>): Promise<void> {
    this.model.zeroGrad()
    while (this.epoch < epochs && (!this.history.stopped || this.position.skip > 0)) {
      this.model.train()
      // Resumed in the middle of an epoch, perhaps after its last update, the rate is that of the update before.
      this.#schedule(this.position.skip > 0 ? Math.max(0, this.step - 1) : this.step)
      await this.#tell(callback => callback.epochStart?.(this))
      await this.#trainEpoch(data)
      const trained = { ...(await this.means.values()), ...(await this.meters.values()) }
      const logs = { ...trained, ...(await validate()), lr: this.learningRate }
      this.position = { epoch: this.epoch + 1, skip: 0 }
      this.means.reset()
      this.meters.reset()
      this.history.add(logs)
      this.options.schedule?.epochEnd?.(logs)
      this.options.display?.epochEnd(this.epoch, logs)
      await this.#tell(callback => callback.epochEnd?.(this, logs))
      await this.#tell(callback => callback.epochDone?.(this))
      this.epoch++
    }
  }

  /** Leaves model and optimizer without what belongs to this fit alone. */
  end(): void {
    this.#compute.dispose()
    this.model.zeroGrad()
    if (this.options.schedule) this.#setRates(1)
    this.means.reset()
    this.meters.reset()
  }

  async #tell(call: (callback: Callback) => void | Promise<void>): Promise<void> {
    for (const callback of this.options.callbacks) await call(callback)
  }

  async #trainEpoch(data: Dataset<unknown>): Promise<void> {
    const { signal, display } = this.options
    this.#batch = this.position.skip
    display?.epochStart(this.epoch)
    const pass = data.iterate({ ...this.position, signal })
    for await (const element of pass) {
      const batch = trainingBatch(element, 'fit')
      const examples = this.#trainBatch(batch)
      this.position = pass.state()
      await this.#batchEnd(examples)
    }
    if (this.#batch === 0) throw new AnnealError('ERR_VALUE', 'fit: the data gave no batches')
    // What was collected since the last update, where the batches do not come out even.
    const left = this.#collected.batches > 0
    if (left) {
      this.#schedule()
      scope(() => this.#updateWeights('uneven'))
      this.#countUpdate()
    }
    while (this.#pending.length > 0) await this.#oldest()
    if (left) await this.#tell(callback => callback.stepEnd?.(this, this.#logs))
    throwIfAborted(signal, 'fit')
  }

  /** Forward, backward and perhaps the update for one batch; returns its number of examples. */
  #trainBatch(batch: TrainingBatch): number {
    const { accumulate = 1, ownsBatches } = this.options
    const examples = examplesIn(batch[0], 'inputs')
    const collected = this.#collected
    if (collected.batches === 0) collected.expected = examples * accumulate
    this.#share = examples / collected.expected
    collected.batches++
    collected.examples += examples
    const last = collected.batches >= accumulate
    if (last) this.#schedule()
    scope(() => {
      const [inputs, targets, weights] = batch.map(part => placed(part, this.#gpu)) as unknown as TrainingBatch
      const update = last ? (collected.examples === collected.expected ? 'even' : 'uneven') : 'none'
      const { losses, outputs } = this.#compute(inputs, targets, weights, update)
      this.means.add(losses, examples)
      if (outputs) this.meters.update(paired(outputs, targets))
    })
    if (ownsBatches) disposeAll(batch)
    return examples
  }

  /** What is done on the device for one batch. It may be captured: what changes between batches must be live. */
  #batchStep(inputs: Bundle, targets: Bundle, weights: Tensor | undefined, update: Update): BatchResult {
    const { classWeight, accumulate = 1 } = this.options
    const outputs = forwardOf(this.model, inputs, this.compiled.autocast)
    const losses = this.compiled.objective.compute(outputs, targets, weights, classWeight)
    for (const module of this.model.modules()) {
      for (const kind of ['l1', 'l2'] as const) dependsOn(this, () => module.regularizer?.[kind])
    }
    const penalty = this.model.regularization()
    if (penalty) losses[0]![1] = losses[0]![1].add(penalty)
    const loss = losses[0]![1]
    if (!loss.requiresGrad) checkTrainable(this.compiled.optimizer.parameters())
    const share = accumulate > 1 ? loss.mul(live(() => this.#share)) : loss
    share.backward()
    if (update !== 'none') this.#updateWeights(update)
    return {
      losses: losses.map(([name, value]): [string, Tensor] => [name, value.detach()]),
      outputs: this.meters.metrics.length > 0 ? mapBundle(outputs, t => t.detach()) : undefined,
    }
  }

  /** Clips the gradients, updates the weights by them and drops them. */
  #updateWeights(update: Update): void {
    const { optimizer } = this.compiled
    const { clipNorm, clipValue } = this.options
    const parameters = optimizer.parameters()
    if (update === 'uneven') {
      const factor = live(() => this.#collected.expected / this.#collected.examples)
      scaleGradients(parameters, factor)
    }
    if (clipValue !== undefined) clipGradValue(parameters, clipValue)
    if (clipNorm !== undefined) clipGradNorm(parameters, clipNorm)
    optimizer.step()
    optimizer.zeroGrad()
  }

  /** Waits for the values of some batch back, and tells of it. */
  async #batchEnd(examples: number): Promise<void> {
    const { accumulate = 1, display } = this.options
    const logs = this.means.values()
    logs.catch(() => {}) // awaited some batches later, or not at all when something else fails first
    this.#pending.push({ step: this.step, logs })
    const updated = this.#collected.batches >= accumulate
    if (updated) this.#countUpdate()
    if (this.#pending.length > inFlight) await this.#oldest()
    await display?.batch(this.#batch, this.#logs, examples, this.meters)
    this.#batch++
    if (updated) await this.#tell(callback => callback.stepEnd?.(this, this.#logs))
  }

  #countUpdate(): void {
    this.#collected.batches = 0
    this.#collected.examples = 0
    this.step++
  }

  /** The values of the batch that has waited longest become those that are told. */
  async #oldest(): Promise<void> {
    const { step, logs } = this.#pending.shift()!
    this.#logs = await logs
    this.checkFinite(this.#logs, step)
  }

  /** @internal Throws for a loss that ends the fit. */
  checkFinite({ loss = 0 }: Logs, step = this.step): void {
    if (Number.isFinite(loss) || this.options.allowNonFinite) return
    throw new AnnealError(
      'ERR_VALUE',
      `fit: the loss is ${loss} at step ${step}, in epoch ${this.epoch} (both counted from 0); look for values that are ` +
        'not finite in inputs and targets, lower the learning rate or set clipNorm, or pass { allowNonFinite: true }',
    )
  }

  #schedule(step = this.step): void {
    const factor = this.options.schedule?.factor(step, this.epoch)
    if (factor === undefined) return
    if (!(factor >= 0)) {
      throw new AnnealError(
        'ERR_VALUE',
        `fit: the schedule gave ${factor} for step ${step}; expected a factor of 0 or more`,
      )
    }
    this.#setRates(factor)
  }

  // Group by group: a factor of 0 must not make their rates the same for good.
  #setRates(factor: number): void {
    for (const [i, group] of this.compiled.optimizer.groups.entries()) group.lr = this.rates[i]! * factor
  }
}

function checkTrainable(parameters: readonly Parameter[]): void {
  if (parameters.some(parameter => parameter.trainable)) return
  throw new AnnealError(
    'ERR_STATE',
    'fit: no parameter is trainable, all are frozen; call unfreeze() on the modules that are to be trained',
  )
}

function scaleGradients(parameters: readonly Parameter[], factor: TensorLike): void {
  for (const parameter of parameters) {
    const { grad } = parameter
    if (grad) parameter.grad = grad.detach().mul(factor)
  }
}
