import { Dataset, fromArrays, IndexedDataset } from '../data'
import { upTo } from '../data/random'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { indexSelect } from '../ops.generated'
import { randomState, setRandomState } from '../runtime'
import { Tensor } from '../tensor'
import { disposeAll, entriesOf, examplesIn, mapBundle, placed, sliced } from './bundle'
import type { Bundle, Examples, TrainingBatch } from './types'

export interface FeedOptions {
  batchSize: number | undefined
  shuffle: boolean | undefined
  seed: number
}

export const defaultBatch = 32

/** A dataset of training batches from what fit takes, and whether they are made for the fit, which disposes of them then. */
export function feed(examples: Examples, options: FeedOptions): { data: Dataset<unknown>; owned: boolean } {
  const { batchSize, seed } = options
  if (examples instanceof Dataset) {
    if (batchSize === undefined) return { data: examples, owned: false }
    const shuffle = options.shuffle ?? examples instanceof IndexedDataset
    return { data: (shuffle ? examples.shuffle({ seed }) : examples).batch(batchSize), owned: true }
  }
  const columns = checkedColumns(examples, 'fit')
  const rows = fromArrays(upTo(new Int32Array(examplesIn(columns[0], 'inputs'))))
  const ordered = (options.shuffle ?? true) ? rows.shuffle({ seed }) : rows
  const data: Dataset<unknown> = ordered.batch(batchSize ?? defaultBatch).map((index): unknown => {
    const chosen = (t: Tensor) => indexSelect(t, placed(index as Tensor, t.device), 0)
    const batch = scope(() => columns.map(column => column && mapBundle(column, chosen)))
    disposeAll([index as Tensor])
    return batch
  })
  return { data, owned: true }
}

/**
 * Batches in their order, for evaluation; those made here are disposed of when the next one is asked for. Errors begin
 * with `where`, here and below.
 */
export async function* batchesOf(
  examples: Examples,
  options: { batchSize?: number; signal?: AbortSignal },
  where: string,
): AsyncGenerator<TrainingBatch> {
  const { batchSize, signal } = options
  if (!(examples instanceof Dataset)) {
    const [inputs, targets, weights] = checkedColumns(examples, where)
    for (const [start, end] of ranges(examplesIn(inputs, 'inputs'), options, where)) {
      const batch = [inputs, targets, weights].map(b => b && sliced(b, start, end)) as unknown as TrainingBatch
      yield batch
      disposeAll(batch)
    }
    return
  }
  const data: Dataset<unknown> = batchSize === undefined ? examples : examples.batch(batchSize)
  for await (const element of data.iterate({ signal })) {
    const batch = trainingBatch(element, where)
    yield batch
    if (batchSize !== undefined) disposeAll(batch)
  }
}

/** Starts and ends of batches of `count` examples, until `signal` ends them. */
export function* ranges(
  count: number,
  { batchSize: size = defaultBatch, signal }: { batchSize?: number; signal?: AbortSignal },
  where: string,
): Generator<[number, number]> {
  if (!Number.isInteger(size) || size < 1) {
    throw new AnnealError('ERR_VALUE', `${where}: batchSize must be a whole number from 1 on; got ${size}`)
  }
  for (let start = 0; start < count; start += size) {
    throwIfAborted(signal, where)
    yield [start, Math.min(count, start + size)]
  }
}

export function throwIfAborted(signal: AbortSignal | undefined, where: string): void {
  if (signal?.aborted) {
    throw new AnnealError('ERR_ABORTED', `${where}: aborted through its signal`, { cause: signal.reason })
  }
}

/** Inputs, targets and weights of whole data, checked to have as many examples. */
function checkedColumns(examples: Exclude<Examples, Dataset<unknown>>, where: string): TrainingBatch {
  if (!Array.isArray(examples) || examples.length < 2 || examples.length > 3) {
    throw new AnnealError(
      'ERR_VALUE',
      `${where}: data must be tensors (inputs and targets) or a Dataset; got ${describe(examples)}; ` +
        'make a dataset with fromArrays, fromItems or fromGenerator',
    )
  }
  const count = examplesIn(examples[0], `${where}: inputs`)
  checkBatch(examples as unknown as TrainingBatch, where)
  if (count === 0) throw new AnnealError('ERR_VALUE', `${where}: there are no examples; the first axis has size 0`)
  return examples as unknown as TrainingBatch
}

function checkBatch([inputs, targets, weights]: TrainingBatch, where: string): void {
  const counts = [examplesIn(inputs, `${where}: inputs`), examplesIn(targets, `${where}: targets`)]
  if (weights) {
    if (!(weights instanceof Tensor) || weights.ndim !== 1) {
      const got = weights instanceof Tensor ? `shape [${weights.shape}]` : describe(weights)
      throw new AnnealError(
        'ERR_SHAPE',
        `${where}: weights must be a tensor [${counts[0]}], one per example; got ${got}`,
      )
    }
    counts.push(weights.shape[0]!)
  }
  if (counts.some(n => n !== counts[0])) {
    const names = ['inputs', 'targets', 'weights']
    throw new AnnealError(
      'ERR_SHAPE',
      `${where}: the numbers of examples differ: ${counts.map((n, i) => `${n} ${names[i]}`).join(', ')}`,
    )
  }
}

/** Splits tensors: the last `fraction` of the examples apart. */
export function splitLast<B extends Bundle>(bundle: B, fraction: number): [B, B] {
  const count = examplesIn(bundle, 'fit: data')
  const at = count - Math.round(count * fraction)
  if (!(fraction > 0 && fraction < 1) || at <= 0 || at >= count) {
    throw new AnnealError(
      'ERR_VALUE',
      `fit: validationSplit must leave examples on both sides; got ${fraction} of ${count}`,
    )
  }
  return [sliced(bundle, 0, at), sliced(bundle, at, count)]
}

/** A batch as inputs, targets and weights, checked. */
export function trainingBatch(element: unknown, where: string): TrainingBatch {
  if (Array.isArray(element) && (element.length === 2 || element.length === 3)) {
    const batch = element as unknown as TrainingBatch
    advised(element[0], () => checkBatch(batch, where))
    return batch
  }
  throw new AnnealError(
    'ERR_VALUE',
    `${where}: a batch must be [inputs, targets] or [inputs, targets, weights], of tensors; got ${describe(element)}. ${advice}`,
  )
}

/** A batch of inputs alone, checked. */
export function inputBatch(element: unknown, where: string): Bundle {
  advised(element, () => examplesIn(element as Bundle, `${where}: inputs`))
  return element as Bundle
}

const advice = 'Give batchSize for a dataset of single examples'

/** Runs `check`, with advice in its error where `inputs` are no batch: a plain number or a scalar is most likely one example. */
function advised(inputs: unknown, check: () => void): void {
  try {
    check()
  } catch (error) {
    if (!(error instanceof AnnealError) || isBundle(inputs)) throw error
    throw new AnnealError(error.code, `${error.message}. ${advice}`)
  }
}

function isBundle(value: unknown): boolean {
  try {
    return entriesOf(value as Bundle, '').every(([, t]) => t.ndim > 0)
  } catch {
    return false
  }
}

function describe(element: unknown): string {
  if (Array.isArray(element)) return `a list of ${element.length}`
  if (element instanceof Tensor) return `${element}`
  return element === null ? 'null' : typeof element
}

/** A seed drawn from the environment's generator, which goes on. */
export function drawSeed(): number {
  const [seed, offset] = randomState()
  setRandomState([seed, offset + 1])
  // Two numbers into one, spread by a multiplication that keeps 32 bits.
  return (Math.imul(seed | 0, 0x9e3779b1) ^ offset) >>> 0
}
