import { Dataset } from '../data'
import { AnnealError } from '../errors'
import { ConfusionMatrix } from '../metrics'
import { shown } from '../nn/check'
import type { Module } from '../nn/module'
import { summarize } from '../nn/summary'
import { writeReport } from '../report'
import { disposeAll } from './bundle'
import type { Callback } from './callback'
import type { Compiled } from './compile'
import { createDisplay, type Display } from './display'
import { evaluate } from './evaluate'
import { batchesOf, defaultBatch, drawSeed, feed, splitLast, throwIfAborted } from './feed'
import type { History } from './history'
import { Meters } from './meter'
import type { Logs } from './progress'
import { loadTraining } from './resume'
import { Fit } from './trainer'
import type { Bundle, Examples, FitOptions } from './types'

const inTraining = new WeakSet<Module>()

/** Trains a compiled model on data; see `Module.fit`. */
export async function fit(model: Module, compiled: Compiled, given: Examples, options: FitOptions): Promise<History> {
  checkOptions(options)
  throwIfAborted(options.signal, 'fit')
  if (inTraining.has(model)) {
    throw new AnnealError('ERR_STATE', 'fit: this model is being trained already; await that fit first')
  }
  inTraining.add(model)
  try {
    return await train(model, compiled, given, options)
  } catch (error) {
    // What it was that the signal interrupted is of no interest.
    if (error instanceof AnnealError && error.code === 'ERR_ABORTED') throwIfAborted(options.signal, 'fit')
    throw error
  } finally {
    inTraining.delete(model)
  }
}

async function train(model: Module, compiled: Compiled, given: Examples, options: FitOptions): Promise<History> {
  const { training, validation, views = [] } = parts(given, options)
  const saved = await loadTraining(options.resume)
  const seed = options.seed ?? saved?.seed ?? drawSeed()
  const { data, owned } = feed(training, { batchSize: options.batchSize, shuffle: options.shuffle, seed })
  const { epochs = 1 } = options
  const callbacks = inOrder(options.callbacks ?? [])
  const display = displayOf(options, epochs, training, data.length)
  const run = new Fit(model, compiled, { ...options, callbacks, seed, ownsBatches: owned, display })
  const modes = model.modules().map(module => [module, module.training] as const)
  let succeeded = false
  try {
    if (options.report && options.labels) await checkLabels(run, validation ?? training, options.labels)
    if (saved) run.resume(saved)
    for (const callback of callbacks) await callback.fitStart?.(run)
    await run.run(data, epochs, () => validationLogs(model, compiled, validation, options))
    for (const callback of callbacks) await callback.fitEnd?.(run)
    if (options.report) await report(options.report, run, validation ?? training)
    succeeded = true
  } finally {
    for (const [module, mode] of modes) module.training = mode
    run.end()
    display?.close()
    disposeAll(views)
    await closeAll(callbacks, succeeded)
  }
  return run.history
}

function checkOptions(options: FitOptions): void {
  const { epochs = 1, accumulate = 1, batchSize = 1, clipNorm, clipValue, schedule } = options
  for (const [name, value] of Object.entries({ epochs, accumulate, batchSize })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new AnnealError('ERR_VALUE', `fit: ${name} must be a whole number from 1 on; got ${value}`)
    }
  }
  for (const [name, value] of Object.entries({ clipNorm, clipValue })) {
    if (value !== undefined && !(value > 0)) {
      throw new AnnealError('ERR_VALUE', `fit: ${name} must be more than 0; got ${value}`)
    }
  }
  if (schedule && typeof schedule.factor !== 'function') {
    throw new AnnealError(
      'ERR_VALUE',
      `fit: schedule must be an object with a method factor(step, epoch); got ${shown(schedule)}`,
    )
  }
}

/** Training and validation data, the latter cut off the former where `validationSplit` says so. */
function parts(
  given: Examples,
  options: FitOptions,
): { training: Examples; validation: Examples | undefined; views?: Bundle[] } {
  const { validation, validationSplit, sampleWeight } = options
  if (given instanceof Dataset || !Array.isArray(given)) {
    if (sampleWeight || validationSplit !== undefined) {
      throw new AnnealError(
        'ERR_VALUE',
        'fit: sampleWeight and validationSplit are for tensors; let a dataset give [x, y, weight], and split it with split()',
      )
    }
    return { training: given, validation }
  }
  const columns = sampleWeight ? [given[0], given[1], sampleWeight] : given.filter(column => column !== undefined)
  const whole = columns as unknown as Examples
  if (validationSplit === undefined) return { training: whole, validation }
  if (validation) throw new AnnealError('ERR_VALUE', 'fit: give either validation or validationSplit, not both')
  const split = columns.map(column => splitLast(column, validationSplit))
  const part = (i: 0 | 1) => split.map(both => both[i]) as unknown as Examples
  return { training: part(0), validation: part(1), views: split.flat() }
}

function inOrder(callbacks: readonly Callback[]): Callback[] {
  return [...callbacks.filter(callback => !callback.last), ...callbacks.filter(callback => callback.last)]
}

/** Closes all; what goes wrong with that is thrown where the fit succeeded, and else no news beside its error. */
async function closeAll(callbacks: readonly Callback[], succeeded: boolean): Promise<void> {
  const results = await Promise.allSettled(callbacks.map(async callback => callback.close?.()))
  const failed = results.find(result => result.status === 'rejected')
  if (failed && succeeded) throw failed.reason
}

async function validationLogs(
  model: Module,
  compiled: Compiled,
  data: Examples | undefined,
  options: FitOptions,
): Promise<Logs> {
  if (!data) return {}
  const { batchSize, signal } = options
  const logs = await evaluate(model, compiled, data, { batchSize, signal }, 'fit: validation')
  return Object.fromEntries(
    Object.entries(logs).map(([name, value]) => [`val${name[0]!.toUpperCase()}${name.slice(1)}`, value]),
  )
}

function displayOf(
  options: FitOptions,
  epochs: number,
  training: Examples,
  batches: number | undefined,
): Display | undefined {
  if (options.progress === false) return undefined
  const batchSize = options.batchSize ?? (training instanceof Dataset ? undefined : defaultBatch)
  const stepsPerEpoch = batches === Infinity ? undefined : batches
  return createDisplay({ epochs, stepsPerEpoch, batchSize })
}

/** The report of a fit, with the confusion matrix of the validation data (or the training data) where classes have labels. */
async function report(path: string, run: Fit, judged: Examples): Promise<void> {
  const { model, history, compiled, options } = run
  const { labels, epochs, batchSize, seed, clipNorm, clipValue, accumulate } = options
  const optimizer = `${compiled.optimizer.constructor.name} ${JSON.stringify(compiled.optimizer.defaults)}`
  await writeReport(path, {
    title: `Training of ${model.constructor.name}`,
    history: history.metrics,
    summary: summarize(model),
    config: { epochs, batchSize, seed, optimizer, clipNorm, clipValue, accumulate },
    confusion: labels && { labels, matrix: await confusionOf(run, judged) },
  })
}

/** Throws, before time goes into training, where there is not one label for each class that the model tells apart. */
async function checkLabels(run: Fit, data: Examples, labels: readonly string[]): Promise<void> {
  for await (const batch of batchesOf(data, run.options, 'fit')) {
    const { length: classes } = await confusionOf(run, batch)
    if (labels.length === classes) return
    throw new AnnealError(
      'ERR_SHAPE',
      `fit: labels are for ${labels.length} classes, but the model has ${classes}; give a label for each`,
    )
  }
}

async function confusionOf({ model, compiled, options }: Fit, data: Examples): Promise<number[][]> {
  const given = new ConfusionMatrix()
  const meters = () => new Meters([{ key: '', name: given.name, metric: given.clone(), given }])
  await evaluate(model, { ...compiled, meters }, data, { batchSize: options.batchSize, signal: options.signal })
  return given.matrix()
}
