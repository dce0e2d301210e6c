import { existsSync } from 'node:fs'
import type { DatasetState } from '../data'
import { AnnealError } from '../errors'
import { loadCheckpoint, saveCheckpoint } from '../io'
import type { Plain } from '../io/json'
import { randomState, setRandomState } from '../runtime'
import type { Meters } from './meter'
import type { Fit } from './trainer'

type MeansState = { weight: number; sums: Record<string, number> }

/** Saves what a fit needs to go on exactly: model, optimizer, position, random numbers, history, callbacks. */
export async function saveTraining(
  folder: string,
  fit: Fit,
  now: { position: DatasetState; means: MeansState; meters: Meters },
): Promise<void> {
  const { optimizer } = fit.compiled
  const meters = await Promise.all(now.meters.metrics.map(({ metric }) => metric.state()))
  await saveCheckpoint(folder, {
    model: fit.model.stateDict(),
    optimizer: optimizer.stateDict(),
    epoch: now.position.epoch,
    step: fit.step,
    dataPosition: { epoch: now.position.epoch, skip: now.position.skip, seed: fit.options.seed },
    rng: randomState(),
    config: { schedule: fit.options.schedule?.state?.() ?? null, callbacks: callbackStates(fit) },
    metrics: { history: fit.history.metrics, means: { ...now.means }, meters },
  })
}

function callbackStates(fit: Fit): Plain {
  return (fit.options.callbacks ?? []).map(callback => callback.state?.() ?? null)
}

/** Brings a fit back to where it was saved; undefined when nothing was. */
export async function restoreTraining(
  folder: string,
  fit: Fit,
  meters: Meters,
): Promise<{ position: DatasetState; means: MeansState } | undefined> {
  if (!existsSync(folder)) return undefined
  const saved = await loadCheckpoint(folder)
  if (!saved.optimizer || !saved.dataPosition || !saved.rng) {
    throw new AnnealError(
      'ERR_FORMAT',
      `fit: ${folder} is not a checkpoint of a fit: it has no optimizer state or position`,
    )
  }
  const { epoch, skip } = saved.dataPosition as unknown as DatasetState
  const {
    history,
    means,
    meters: meterStates,
  } = saved.metrics as unknown as {
    history: Record<string, number[]>
    means: MeansState
    meters: Plain[]
  }
  const { schedule, callbacks } = saved.config as { schedule: Plain; callbacks: Plain[] }
  fit.model.loadStateDict(saved.model)
  fit.compiled.optimizer.loadStateDict(saved.optimizer)
  setRandomState(saved.rng as [number, number])
  Object.assign(fit.history.metrics, history)
  if (schedule !== null) fit.options.schedule?.restore?.(schedule)
  for (const [i, state] of callbacks.entries()) if (state !== null) fit.options.callbacks?.[i]?.restore?.(state)
  for (const [i, state] of meterStates.entries()) meters.metrics[i]?.metric.restore(state)
  return { position: { epoch, skip }, means }
}

/** The seed with which a saved fit shuffled. */
export async function savedSeed(folder: string | undefined): Promise<number | undefined> {
  if (!folder || !existsSync(folder)) return undefined
  const { dataPosition } = await loadCheckpoint(folder)
  return (dataPosition as { seed?: number } | undefined)?.seed
}
