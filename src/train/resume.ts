import { AnnealError } from '../errors'
import { loadCheckpoint, saveCheckpoint } from '../io'
import type { Plain } from '../io/json'
import { hasSet } from '../io/store'
import type { OptimizerState } from '../optim/optimizer'
import { randomState, setRandomState } from '../runtime'
import type { Tensor } from '../tensor'
import type { Callback } from './callback'
import type { MeansState } from './meter'
import type { Fit } from './trainer'

/** What is saved of a fit beside tensors, position and random numbers. */
interface Progress {
  history: Record<string, number[]>
  stopped: string | null
  means: MeansState
  meters: Record<string, Plain>
  rates: number[]
  schedule: Plain
  callbacks: { kind: string; state: Plain }[]
}

/** Saves what a fit needs to go on exactly, as it is at the time of the call. */
export async function saveTraining(folder: string, fit: Fit): Promise<void> {
  const { history, options, position, step, rates } = fit
  const model = fit.model.stateDict()
  const optimizer = fit.compiled.optimizer.stateDict()
  const rng = randomState()
  const state = {
    history: structuredClone(history.metrics),
    stopped: history.stopped ?? null,
    rates: [...rates],
    schedule: options.schedule?.state?.() ?? null,
    callbacks: options.callbacks.map(callback => ({ kind: kindOf(callback), state: callback.state?.() ?? null })),
  }
  const ofCallbacks = callbackTensors(options.callbacks)
  const [means, meters] = [fit.means.state(), fit.meters.state()]
  try {
    const metrics = { ...state, means: await means, meters: await meters } satisfies Progress
    fit.checkFinite({ loss: (metrics.means.sums as { loss?: number }).loss ?? 0 })
    await saveCheckpoint(folder, {
      model,
      optimizer: { tensors: { ...optimizer.tensors, ...ofCallbacks }, state: optimizer.state },
      epoch: position.epoch,
      step,
      dataPosition: { epoch: position.epoch, skip: position.skip, seed: options.seed },
      rng,
      metrics: metrics as unknown as Plain,
    })
  } finally {
    for (const tensor of [...Object.values(model), ...Object.values(optimizer.tensors)]) tensor.dispose()
  }
}

function kindOf(callback: Callback): string {
  return callback.constructor.name
}

const tensorPrefix = (index: number): string => `callback.${index}.`

function callbackTensors(callbacks: readonly Callback[]): Record<string, Tensor> {
  const entries = callbacks.flatMap((callback, i) =>
    Object.entries(callback.tensors?.() ?? {}).map(([name, t]): [string, Tensor] => [tensorPrefix(i) + name, t]),
  )
  return Object.fromEntries(entries)
}

/** A saved fit, read and verified. */
export interface Saved {
  /** The seed with which it shuffled. */
  readonly seed: number
  /** Brings `fit` to where this one stood. */
  restore(fit: Fit): void
}

/** The fit saved in `folder`; undefined when nothing was. */
export async function loadTraining(folder: string | undefined): Promise<Saved | undefined> {
  if (folder === undefined || !hasSet(folder)) return undefined
  const { model, optimizer, dataPosition, rng, step, metrics } = await loadCheckpoint(folder)
  const position = dataPosition as { epoch: number; skip: number; seed: number } | undefined
  const progress = metrics as unknown as Progress | undefined
  if (!optimizer || !position || !rng || !progress?.callbacks) {
    throw new AnnealError(
      'ERR_FORMAT',
      `fit: ${folder} is not a checkpoint of a fit: it has no optimizer state or position`,
    )
  }
  const restore = (fit: Fit) => {
    restoreWeights(folder, fit, model, optimizer)
    setRandomState(rng as [number, number])
    fit.step = step
    fit.position = { epoch: position.epoch, skip: position.skip }
    restoreProgress(fit, progress)
    const used = restoreCallbacks(fit.options.callbacks, progress.callbacks, optimizer.tensors)
    for (const t of [...Object.values(model), ...Object.values(optimizer.tensors)]) if (!used.has(t)) t.dispose()
  }
  return { seed: position.seed, restore }
}

/** Gives model and optimizer their saved states: both or none. */
function restoreWeights(
  folder: string,
  { model, compiled }: Fit,
  weights: Record<string, Tensor>,
  state: OptimizerState,
) {
  const { optimizer } = compiled
  const before = { model: model.stateDict(), optimizer: optimizer.stateDict() }
  try {
    model.loadStateDict(weights)
    optimizer.loadStateDict(state)
  } catch (error) {
    model.loadStateDict(before.model)
    optimizer.loadStateDict(before.optimizer)
    if (!(error instanceof AnnealError)) throw error
    const message = `fit: resume: ${folder} does not fit: ${error.message}; resume with the model and the optimizer that it was saved with`
    throw new AnnealError(error.code, message, { cause: error })
  } finally {
    for (const t of [...Object.values(before.model), ...Object.values(before.optimizer.tensors)]) t.dispose()
  }
}

function restoreProgress(fit: Fit, { history, stopped, means, meters, rates, schedule }: Progress): void {
  Object.assign(fit.history.metrics, history)
  fit.history.stopped = stopped ?? undefined
  fit.rates = rates
  fit.means.restore(means)
  fit.meters.restore(meters)
  if (schedule !== null) fit.options.schedule?.restore?.(schedule)
}

/** Gives each callback the state of the saved one of its kind: the first of a kind that of the first, and so on. */
function restoreCallbacks(
  callbacks: readonly Callback[],
  saved: Progress['callbacks'],
  tensors: Readonly<Record<string, Tensor>>,
): Set<Tensor> {
  const used = new Set<Tensor>()
  const free = new Set(saved.keys())
  for (const callback of callbacks) {
    const index = [...free].find(i => saved[i]!.kind === kindOf(callback))
    if (index === undefined) continue
    free.delete(index)
    const prefix = tensorPrefix(index)
    const own = Object.entries(tensors).filter(([name]) => name.startsWith(prefix))
    for (const [, t] of own) used.add(t)
    const named = Object.fromEntries(own.map(([name, t]) => [name.slice(prefix.length), t]))
    const { state } = saved[index]!
    if (state !== null) callback.restore?.(state, named)
  }
  return used
}
