import { Dataset, fromArrays, IndexedDataset } from '../data'
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
  const columns = checkedColumns(examples)
  const rows = fromArrays(Int32Array.from({ length: examplesIn(columns[0], 'inputs') }, (_, i) => i))
  const ordered = (options.shuffle ?? true) ? rows.shuffle({ seed }) : rows
  const data: Dataset<unknown> = ordered.batch(batchSize ?? defaultBatch).map((index): unknown => {
    const chosen = (t: Tensor) => indexSelect(t, placed(index as Tensor, t.device), 0)
    const batch = scope(() => columns.map(column => column && mapBundle(column, chosen)))
    disposeAll([index as Tensor])
    return batch
  })
  return { data, owned: true }
}

/** Batches in their order, for evaluation; those made here are disposed of when the next one is asked for. */
export async function* batchesOf(
  examples: Examples,
  { batchSize, signal }: { batchSize?: number; signal?: AbortSignal },
): AsyncGenerator<TrainingBatch> {
  if (!(examples instanceof Dataset)) {
    const [inputs, targets, weights] = checkedColumns(examples)
    for (const [start, end] of ranges(examplesIn(inputs, 'inputs'), batchSize, signal)) {
      const batch = [inputs, targets, weights].map(b => b && sliced(b, start, end)) as unknown as TrainingBatch
      yield batch
      disposeAll(batch)
    }
    return
  }
  const data: Dataset<unknown> = batchSize === undefined ? examples : examples.batch(batchSize)
  for await (const element of data.iterate({ signal })) {
    const batch = trainingBatch(element)
    yield batch
    if (batchSize !== undefined) disposeAll(batch)
  }
}

/** Starts and ends of batches of `count` examples, until `signal` ends them. */
export function* ranges(count: number, size = defaultBatch, signal?: AbortSignal): Generator<[number, number]> {
  if (!Number.isInteger(size) || size < 1) {
    throw new AnnealError('ERR_VALUE', `batchSize must be a whole number from 1 on; got ${size}`)
  }
  for (let start = 0; start < count; start += size) {
    throwIfAborted(signal)
    yield [start, Math.min(count, start + size)]
  }
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new AnnealError('ERR_ABORTED', 'fit: aborted through its signal', { cause: signal.reason })
  }
}

/** Inputs, targets and weights of whole data, checked to have as many examples. */
function checkedColumns(examples: Exclude<Examples, Dataset<unknown>>): TrainingBatch {
  if (!Array.isArray(examples) || examples.length < 2 || examples.length > 3) {
    throw new AnnealError(
      'ERR_VALUE',
      `fit: data must be tensors (inputs and targets) or a Dataset; got ${describe(examples)}; ` +
        'make a dataset with fromArrays, fromItems or fromGenerator',
    )
  }
  const count = examplesIn(examples[0], 'inputs')
  checkBatch(examples as unknown as TrainingBatch)
  if (count === 0) throw new AnnealError('ERR_VALUE', 'fit: there are no examples; the first axis has size 0')
  return examples as unknown as TrainingBatch
}

function checkBatch([inputs, targets, weights]: TrainingBatch): void {
  const counts = [examplesIn(inputs, 'inputs'), examplesIn(targets, 'targets')]
  if (weights) {
    if (!(weights instanceof Tensor) || weights.ndim !== 1) {
      const got = weights instanceof Tensor ? `shape [${weights.shape}]` : describe(weights)
      throw new AnnealError('ERR_SHAPE', `fit: weights must be a tensor [${counts[0]}], one per example; got ${got}`)
    }
    counts.push(weights.shape[0]!)
  }
  if (counts.some(n => n !== counts[0])) {
    const names = ['inputs', 'targets', 'weights']
    throw new AnnealError(
      'ERR_SHAPE',
      `fit: the numbers of examples differ: ${counts.map((n, i) => `${n} ${names[i]}`).join(', ')}`,
    )
  }
}

/** Splits tensors: the last `fraction` of the examples apart. */
export function splitLast<B extends Bundle>(bundle: B, fraction: number): [B, B] {
  const count = examplesIn(bundle, 'data')
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
export function trainingBatch(element: unknown): TrainingBatch {
  if (Array.isArray(element) && (element.length === 2 || element.length === 3)) {
    const batch = element as unknown as TrainingBatch
    try {
      checkBatch(batch)
    } catch (error) {
      // A scalar or a plain number where a batch is expected: most likely single examples.
      if (!(error instanceof AnnealError) || isBundle(element[0])) throw error
      throw new AnnealError(error.code, `${error.message}. ${advice}`)
    }
    return batch
  }
  throw new AnnealError(
    'ERR_VALUE',
    `fit: a batch must be [inputs, targets] or [inputs, targets, weights], of tensors; got ${describe(element)}. ${advice}`,
  )
}

const advice = 'Give batchSize for a dataset of single examples'

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
