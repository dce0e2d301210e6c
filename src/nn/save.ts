import { type Preprocessor, type PreprocessorClass, preprocessing } from '../data'
import { AnnealError } from '../errors'
import { type Checkpoint, loadCheckpoint, type Plain, saveCheckpoint } from '../io'
import { isObject } from '../objects'
import { randomState, setRandomState } from '../runtime'
import type { Tensor } from '../tensor'
import { shown } from './check'
import { fromConfig, type ModuleConfig, toConfig } from './config'
import type { Module } from './module'

/** Fitted steps by name. */
export type Steps = Readonly<Record<string, Preprocessor>>

/** What is kept beside the model. */
export interface SaveModelOptions {
  /** The fitted steps, by name, that inputs go through before the model sees them, or outputs afterwards. */
  preprocessing?: Steps
  /** What the classes mean, by index. */
  labels?: readonly string[]
  /** Plain data of your own. */
  config?: Plain
}

export interface LoadModelOptions<S extends Steps = Steps> {
  /** The classes of steps that the model must have come with, by name: what `preprocessing` of the result is typed by. */
  preprocessing?: { readonly [K in keyof S]: PreprocessorClass<S[K]> }
}

/** What {@link loadModel} gives back. */
export interface SavedModel<S extends Steps = Steps> {
  /** The model, in evaluation mode. */
  readonly model: Module
  /** The fitted steps by name; empty where none were saved. */
  readonly preprocessing: S
  readonly labels: readonly string[] | undefined
  readonly config: Plain | undefined
}

const format = 'anneal-model'
const version = 1

/**
 * Saves a model with its architecture, weights, preprocessing and labels into `folder`, atomically: a crash leaves the
 * model that was there before, or the new one.
 * @throws ERR_VALUE for a module that cannot be saved with its architecture; see {@link toConfig}.
 */
export async function saveModel(folder: string, model: Module, options: SaveModelOptions = {}): Promise<void> {
  const architecture = toConfig(model)
  checkRebuilt(model, architecture)
  const { labels, config } = options
  const frozen = Array.from(model.namedParameters()).flatMap(([name, p]) => (p.trainable ? [] : [name]))
  const saved = { format, version, model: architecture, frozen, labels, config } as unknown as Plain
  await saveCheckpoint(folder, {
    epoch: 0,
    step: 0,
    model: model.stateDict(),
    config: saved,
    preprocessing: mapValues(options.preprocessing ?? {}, step => step.toJSON() as unknown as Plain),
  })
}

/**
 * Loads what {@link saveModel} saved. Weights are memory-mapped. No code is run but the constructors of Anneal's layers and
 * of classes that were registered.
 * @throws ERR_IO for a folder that holds nothing saved; ERR_FORMAT for one that holds something else, an unknown kind of module,
 * steps that are not as expected or weights that do not fit.
 */
export async function loadModel<S extends Steps = Steps>(
  folder: string,
  options: LoadModelOptions<S> = {},
): Promise<SavedModel<S>> {
  const checkpoint = await loadCheckpoint(folder)
  try {
    return read(checkpoint, options.preprocessing)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const code = error instanceof AnnealError && error.code === 'ERR_MEMORY' ? error.code : 'ERR_FORMAT'
    throw new AnnealError(code, `loadModel: ${folder}: ${reason}`, { cause: error })
  }
}

function read<S extends Steps>(checkpoint: Checkpoint, expected: LoadModelOptions<S>['preprocessing']): SavedModel<S> {
  const { config: saved, preprocessing: steps = {} } = checkpoint as {
    config?: Record<string, unknown>
    preprocessing?: unknown
  }
  if (saved?.format !== format || saved.version !== version) {
    throw new AnnealError(
      'ERR_FORMAT',
      `expected a model saved by saveModel (version ${version}); got ${shown(saved?.format)} (version ${shown(saved?.version)})`,
    )
  }
  if (!isObject(steps)) {
    throw new AnnealError('ERR_FORMAT', `expected preprocessing to be steps by name; got ${shown(steps)}`)
  }
  const model = fromConfig(saved.model as ModuleConfig)
  restore(model, checkpoint.model, new Set(texts('frozen', saved.frozen ?? [])))
  return {
    model: model.eval(),
    preprocessing: stepsOf(steps, expected) as S,
    labels: saved.labels === undefined ? undefined : texts('labels', saved.labels),
    config: saved.config as Plain | undefined,
  }
}

/** The saved steps, those in `expected` checked to be there and of their class. */
function stepsOf(
  saved: Readonly<Record<string, unknown>>,
  expected: Readonly<Record<string, PreprocessorClass<Preprocessor>>> = {},
): Steps {
  const steps = mapValues(saved, step => preprocessing.fromJSON(step))
  for (const [name, kind] of Object.entries(expected)) {
    if (steps[name] instanceof kind) continue
    const found = Object.entries(steps).map(([name, step]) => `${name} (${step.kind})`)
    throw new AnnealError(
      'ERR_FORMAT',
      `expected step ${name} to be a ${kind.name}; the saved steps are ${found.join(', ') || 'none'}`,
    )
  }
  return steps
}

/** Gives a new model its saved values, in the dtypes in which they were saved. */
function restore(model: Module, state: Record<string, Tensor>, frozen: ReadonlySet<string>): void {
  for (const [name, cell] of model.namedCells()) {
    const value = state[name]
    if (value && value.dtype !== cell.dtype) cell.convert(value.dtype)
  }
  try {
    model.loadStateDict(state)
  } catch (error) {
    if (!(error instanceof AnnealError)) throw error
    throw new AnnealError('ERR_FORMAT', `weights do not fit: ${error.message}`, { cause: error })
  }
  for (const [name, parameter] of model.namedParameters()) parameter.trainable = !frozen.has(name)
}

/** Builds the model anew, so that what could not be loaded is not saved. */
function checkRebuilt(model: Module, config: ModuleConfig): void {
  const random = randomState()
  const rebuilt = fromConfig(config)
  setRandomState(random)
  const [expected, got] = [shapesOf(model), shapesOf(rebuilt)]
  for (const [, cell] of rebuilt.namedCells()) cell.dispose()
  const names = new Set([...expected.keys(), ...got.keys()])
  const wrong = [...names].filter(name => expected.get(name) !== got.get(name))
  if (wrong.length === 0) return
  const list = wrong.map(name => `${name} [${expected.get(name) ?? 'absent'}] became [${got.get(name) ?? 'absent'}]`)
  throw new AnnealError(
    'ERR_VALUE',
    `saveModel: the model was changed after its layers were made, so that its architecture would not be as it is: ${list.slice(0, 5).join('; ')}. Do so in the constructor of a class of your own, and register it`,
  )
}

function shapesOf(model: Module): Map<string, string> {
  return new Map(Array.from(model.namedCells(), ([name, cell]) => [name, cell.shape.join()]))
}

function texts(name: string, value: unknown): string[] {
  if (Array.isArray(value) && value.every(v => typeof v === 'string')) return value
  throw new AnnealError('ERR_FORMAT', `expected ${name} to be a list of texts; got ${shown(value)}`)
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, fn: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, fn(value)]))
}
