import { Dataset, fromArrays, IndexedDataset, type NdArray } from '../data'
import { AnnealError } from '../errors'
import { randomState, setRandomState } from '../runtime'
import { Tensor } from '../tensor'
import { entriesOf, examplesIn } from './bundle'
import type { Bundle, Examples, TrainingBatch } from './types'

export interface FeedOptions {
  batchSize: number | undefined
  shuffle: boolean | undefined
  seed: number
}

const defaultBatch = 32

/** A dataset of training batches from whatever fit, evaluate and predict take. */
export async function feed(
  examples: Examples,
  weights: Tensor | undefined,
  options: FeedOptions,
): Promise<Dataset<unknown>> {
  const { batchSize, seed } = options
  if (!(examples instanceof Dataset)) {
    const [inputs, targets] = examples
    checkCounts(inputs, targets, weights)
    const columns = weights ? [inputs, targets, weights] : [inputs, targets]
    const whole = fromArrays(...(await Promise.all(columns.map(onHost)))) as IndexedDataset<unknown>
    const ordered = (options.shuffle ?? true) ? whole.shuffle({ seed }) : whole
    const batches = ordered
      .batch(batchSize ?? defaultBatch)
      .map(batch => (batch as Bundle[]).map((b, i) => likeList(b, columns[i]!)))
    return batches as Dataset<unknown>
  }
  if (weights) throw new AnnealError('ERR_VALUE', 'fit: sampleWeight goes with tensors; a dataset gives [x, y, weight]')
  if (batchSize === undefined) return examples
  const shuffle = options.shuffle ?? examples instanceof IndexedDataset
  return (shuffle ? examples.shuffle({ seed }) : examples).batch(batchSize)
}

/** Values of a bundle in memory that datasets read; the entries of a list get their indices as names. */
async function onHost(bundle: Bundle): Promise<NdArray | Record<string, NdArray>> {
  const read = async (t: Tensor) => ({ data: await t.data(), shape: t.shape, dtype: t.dtype }) as NdArray
  if (bundle instanceof Tensor) return read(bundle)
  const entries = entriesOf(bundle, 'data').map(async ([key, t]): Promise<[string, NdArray]> => [key, await read(t)])
  return Object.fromEntries(await Promise.all(entries))
}

/** A batch's part as a list again where the data were given as one. */
function likeList(part: Bundle, given: Bundle): Bundle {
  return Array.isArray(given) ? Object.values(part as Record<string, Tensor>) : part
}

function checkCounts(inputs: Bundle, targets: Bundle, weights: Tensor | undefined): void {
  const counts = [examplesIn(inputs, 'inputs'), examplesIn(targets, 'targets'), ...(weights ? [weights.shape[0]!] : [])]
  if (counts.some(n => n !== counts[0])) {
    throw new AnnealError(
      'ERR_SHAPE',
      `fit: inputs, targets and weights differ in their number of examples: ${counts.join(', ')}`,
    )
  }
  if (counts[0] === 0) throw new AnnealError('ERR_VALUE', 'fit: there are no examples')
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
  return [mapBundle(bundle, t => t.index({ end: at })), mapBundle(bundle, t => t.index({ start: at }))]
}

function mapBundle<B extends Bundle>(bundle: B, fn: (t: Tensor) => Tensor): B {
  if (bundle instanceof Tensor) return fn(bundle) as unknown as B
  const mapped = entriesOf(bundle, 'data').map(([key, t]): [string, Tensor] => [key, fn(t)])
  return (Array.isArray(bundle) ? mapped.map(([, t]) => t) : Object.fromEntries(mapped)) as unknown as B
}

/** A batch as inputs, targets and weights, checked. */
export function trainingBatch(element: unknown): TrainingBatch {
  if (Array.isArray(element) && (element.length === 2 || element.length === 3)) {
    examplesIn(element[0], 'inputs')
    examplesIn(element[1], 'targets')
    return element as unknown as TrainingBatch
  }
  throw new AnnealError(
    'ERR_VALUE',
    `fit: a batch must be [inputs, targets] or [inputs, targets, weights], of tensors; got ${describe(element)}. Give batchSize for a dataset of single examples`,
  )
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
