import { Dataset } from '../data'
import { AnnealError } from '../errors'
import { ConfusionMatrix } from '../metrics'
import type { Module } from '../nn/module'
import { summarize } from '../nn/summary'
import { writeReport } from '../report'
import type { Tensor } from '../tensor'
import type { Callback } from './callback'
import { evaluate } from './evaluate'
import { drawSeed, feed, splitLast } from './feed'
import type { History } from './history'
import { Meters } from './meter'
import { createProgress, type Logs } from './progress'
import { savedSeed } from './resume'
import { type Compiled, Fit, type RunOptions } from './trainer'
import type { Bundle, Examples, FitOptions } from './types'

/** Trains a compiled model on data; see `Module.fit`. */
export async function fit(model: Module, compiled: Compiled, given: Examples, options: FitOptions): Promise<History> {
  checkOptions(options)
  const seed = options.seed ?? (await savedSeed(options.resume)) ?? drawSeed()
  const { training, validation, weights } = parts(given, options)
  const data = await feed(training, weights, { batchSize: options.batchSize, shuffle: options.shuffle, seed })
  const epochs = options.epochs ?? 1
  const ownsBatches = !(training instanceof Dataset) || options.batchSize !== undefined
  const callbacks = [...(options.callbacks ?? []), ...progressOf(options, epochs, data.length)]
  const run = new Fit(model, compiled, { ...options, callbacks, seed, ownsBatches } satisfies RunOptions)
  if (options.resume) await run.resume(options.resume)
  const mode = model.training
  try {
    for (const callback of callbacks) await callback.fitStart?.(run)
    await run.run(data, epochs, () => validationLogs(model, compiled, validation, options))
    for (const callback of callbacks) await callback.fitEnd?.(run)
  } finally {
    model.train(mode)
    for (const callback of callbacks) if ('close' in callback) (callback as { close(): void }).close()
  }
  if (options.report) await report(options.report, run, validation ?? training)
  return run.history
}

function checkOptions({ epochs = 1, accumulate = 1 }: FitOptions): void {
  for (const [name, value] of Object.entries({ epochs, accumulate })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new AnnealError('ERR_VALUE', `fit: ${name} must be a whole number from 1 on; got ${value}`)
    }
  }
}

/** Training and validation data, the latter cut off the former where `validationSplit` says so. */
function parts(
  given: Examples,
  options: FitOptions,
): { training: Examples; validation: Examples | undefined; weights: Tensor | undefined } {
  const { validation, validationSplit, sampleWeight: weights } = options
  if (validationSplit === undefined) return { training: given, validation, weights }
  if (given instanceof Dataset || validation) {
    throw new AnnealError(
      'ERR_VALUE',
      'fit: validationSplit is for tensors, without validation; split a dataset with split()',
    )
  }
  const [inputs, heldInputs] = splitLast(given[0], validationSplit)
  const [targets, heldTargets] = splitLast(given[1], validationSplit)
  const kept = weights ? splitLast(weights as Bundle, validationSplit)[0] : undefined
  return { training: [inputs, targets], validation: [heldInputs, heldTargets], weights: kept as Tensor | undefined }
}

async function validationLogs(
  model: Module,
  compiled: Compiled,
  data: Examples | undefined,
  options: FitOptions,
): Promise<Logs> {
  if (!data) return {}
  const { batchSize, signal } = options
  const logs = await evaluate(model, compiled, data, { batchSize, signal })
  return Object.fromEntries(
    Object.entries(logs).map(([name, value]) => [`val${name[0]!.toUpperCase()}${name.slice(1)}`, value]),
  )
}

/** The progress display as a callback. */
function progressOf(
  options: FitOptions,
  epochs: number,
  stepsPerEpoch: number | undefined,
): (Callback & { close(): void })[] {
  if (options.progress === false) return []
  const display = createProgress({ epochs, stepsPerEpoch, batchSize: options.batchSize })
  let steps = 0
  return [
    {
      epochStart: ({ epoch }) => {
        steps = 0
        display.epochStart(epoch)
      },
      stepEnd: (_, logs) => display.step(steps++, logs),
      epochEnd: ({ epoch }, logs) => display.epochEnd(epoch, logs),
      close: () => display.stop(),
    },
  ]
}

/** The report of a fit, with the confusion matrix of the validation data (or the training data) where classes have labels. */
async function report(path: string, run: Fit, judged: Examples): Promise<void> {
  const { model, history, compiled, options } = run
  const { labels, epochs, batchSize, seed, clipNorm, clipValue, accumulate } = options
  const last = Object.entries(history.metrics).map(([name, values]): [string, number] => [name, values.at(-1)!])
  const optimizer = `${compiled.optimizer.constructor.name} ${JSON.stringify(compiled.optimizer.defaults)}`
  await writeReport(path, {
    title: `Training of ${model.constructor.name}`,
    history: history.metrics,
    summary: summarize(model),
    metrics: Object.fromEntries(last),
    config: { epochs, batchSize, seed, optimizer, clipNorm, clipValue, accumulate },
    confusion: labels && { labels, matrix: await confusionOf(run, judged, labels.length) },
  })
}

async function confusionOf({ model, compiled, options }: Fit, data: Examples, classes: number): Promise<number[][]> {
  const metric = new ConfusionMatrix(classes)
  const meters = () => new Meters([{ key: '', name: metric.name, metric }])
  await evaluate(model, { ...compiled, meters }, data, { batchSize: options.batchSize, signal: options.signal })
  return metric.matrix()
}
