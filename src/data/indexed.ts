import { AnnealError } from '../errors'
import { breathe, overdue } from './breathe'
import { type Batch, type Stacked, stack, toTensors } from './collate'
import { type BatchOptions, batchCount, checkMapOptions, Dataset, type Parts, type ShuffleOptions } from './dataset'
import { type MapFunction, type MapOptions, mapContext, mapElements, type Position } from './operators'
import {
  checkCount,
  checkShard,
  drawn,
  frozen,
  identity,
  type Order,
  repeated,
  selected,
  shuffled,
  strided,
} from './order'
import { type LabelsOf, partition, readLabels, type SplitOptions } from './partition'
import { checkSeed, Random } from './random'
import {
  balancedWeights,
  binned,
  checkWeights,
  drawWithoutReplacement,
  drawWithReplacement,
  type SampleOptions,
} from './sampling'
import type { Reader, Source } from './source'

interface Stage {
  readonly fn: MapFunction<unknown, unknown>
  readonly options: MapOptions
}

/** Elements that a pass reads from a source at once. */
const BLOCK = 64

/**
 * A {@link Dataset} with random access: shuffles are exact, splits exact and stratified, samplers can draw, and
 * starting a pass anywhere costs nothing. Only indices are shuffled: elements are read when a pass comes to them.
 */
export class IndexedDataset<T> extends Dataset<T> {
  declare readonly length: number

  /** @internal */
  constructor(
    private readonly source: Source<unknown>,
    private readonly order: Order = identity(source.length),
    private readonly stages: readonly Stage[] = [],
  ) {
    super(position => readElements<T>(source, order, stages, position), order.length)
  }

  /** Element `index` of epoch 0. */
  at(index: number): T | Promise<T> {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) {
      throw new AnnealError('ERR_INDEX', `at: expected an index from 0 to ${this.length - 1}, got ${index}`)
    }
    return this.#read(this.order.at(0)(index), index)
  }

  /** All elements of epoch 0 stacked as one batch of typed arrays, as scalers and encoders are fitted to. */
  async toArrays(): Promise<Stacked<T>> {
    this.#finite('toArrays')
    const batches = this.batch(Math.max(1, this.length), { collate: stack<T> })
    for await (const all of batches.iterate()) return all
    throw new AnnealError('ERR_VALUE', 'toArrays: expected at least one element, got an empty dataset')
  }

  /** Keeps random access; see {@link Dataset.map}. */
  override map<U>(fn: MapFunction<T, U>, options: MapOptions = {}): IndexedDataset<U> {
    checkMapOptions(options)
    const stage = { fn: fn as MapFunction<unknown, unknown>, options }
    return new IndexedDataset<U>(this.source, this.order, [...this.stages, stage])
  }

  /** Shuffles all elements exactly, differently in each epoch; with a `bufferSize` as a stream does. */
  override shuffle(options: ShuffleOptions & { bufferSize?: undefined }): IndexedDataset<T>
  override shuffle(options?: ShuffleOptions): Dataset<T>
  override shuffle(options: ShuffleOptions = {}): Dataset<T> {
    if (options.bufferSize !== undefined) return super.shuffle(options)
    return this.#reordered(shuffled(this.order, checkSeed(options.seed ?? 0, 'shuffle')))
  }

  /** As {@link Dataset.batch}; rows of columns and files are copied straight into the batch. */
  override batch(size: number, options?: BatchOptions<T, Batch<T>>): Dataset<Batch<T>>
  override batch<U>(size: number, options: BatchOptions<T, U>): Dataset<U>
  override batch(size: number, options: BatchOptions<T, unknown> = {}): unknown {
    const { dropLast = false, collate } = options
    const stacks = collate === undefined || collate === (stack as unknown)
    if (!stacks || this.stages.length > 0) return super.batch(size, options)
    checkCount(size, 1, 'batch: size')
    const finish = collate ? (stacked: unknown) => stacked : (stacked: unknown) => toTensors<T>(stacked as Stacked<T>)
    return new Dataset(this.#batches(size, dropLast, finish), batchCount(this.length, size, dropLast))
  }

  override repeat(count = Infinity): IndexedDataset<T> {
    if (count !== Infinity) checkCount(count, 0, 'repeat: count')
    return this.#reordered(count === 0 ? identity(0) : repeated(this.order, count))
  }

  override take(count: number): IndexedDataset<T> {
    checkCount(count, 0, 'take: count')
    return this.#reordered(strided(this.order, 0, 1, Math.min(count, this.length)))
  }

  override skip(count: number): IndexedDataset<T> {
    checkCount(count, 0, 'skip: count')
    return this.#reordered(strided(this.order, count, 1, Math.max(0, this.length - count)))
  }

  override shard(index: number, count: number): IndexedDataset<T> {
    checkShard(index, count)
    const length = Math.max(0, Math.ceil((this.length - index) / count))
    return this.#reordered(strided(this.order, index, count, length))
  }

  /** The elements at `indices` (of epoch 0), in that order, in every epoch. */
  select(indices: ArrayLike<number>): IndexedDataset<T> {
    const positions = Uint32Array.from(indices)
    for (let i = 0; i < positions.length; i++) {
      if (positions[i] !== indices[i] || positions[i]! >= this.length) {
        throw new AnnealError('ERR_INDEX', `select: expected indices from 0 to ${this.length - 1}, got ${indices[i]}`)
      }
    }
    return this.#reordered(selected(this.order, positions))
  }

  /**
   * Disjoint datasets with the given fractions of the elements (which sum to 1). Membership never changes: a shuffle
   * before the split counts with its epoch 0 alone, so shuffle the parts. See {@link SplitOptions} to stratify.
   */
  override split<const F extends readonly number[]>(
    fractions: F,
    { seed = 0, shuffle = true, stratify }: SplitOptions<T> = {},
  ): Parts<F, IndexedDataset<T>> {
    checkSeed(seed, 'split')
    this.#finite('split')
    const labels = stratify === undefined ? undefined : this.#labels(stratify, 'split')
    const parts = partition(this.length, fractions, { seed, shuffle, labels })
    return parts.map(part => this.#reordered(selected(this.order, part))) as Parts<F, IndexedDataset<T>>
  }

  /**
   * Draws elements at random, anew in each epoch: by `weights`, or with `balance` so that each class or each value of
   * a feature (in `bins` ranges, where it is continuous) comes equally often. An earlier shuffle counts with its
   * epoch 0 alone.
   */
  sample(options: SampleOptions<T>): IndexedDataset<T> {
    const { count = this.length, replacement = true, seed = 0 } = options
    checkSeed(seed, 'sample')
    checkCount(count, 0, 'sample: count')
    this.#finite('sample')
    const weights = this.#weights(options)
    checkWeights(weights, this.length, replacement ? Math.min(1, count) : count)
    const draw = (replacement ? drawWithReplacement : drawWithoutReplacement)(weights, count)
    return this.#reordered(drawn(frozen(this.order), count, epoch => draw(new Random(seed, epoch))))
  }

  #weights({ weights, balance, bins }: SampleOptions<T>): Float64Array {
    if ((weights === undefined) === (balance === undefined)) {
      throw new AnnealError('ERR_VALUE', 'sample: expected either weights or balance, got both or neither')
    }
    if (balance !== undefined) {
      const labels = this.#labels(balance, 'sample')
      return balancedWeights(bins === undefined ? labels : binned(labels, checkCount(bins, 1, 'sample: bins')))
    }
    if (typeof weights !== 'function') return Float64Array.from(weights!)
    return Float64Array.from(this.#labels(weights, 'sample'), Number)
  }

  #labels(labels: LabelsOf<T>, where: string) {
    const at = this.order.at(0)
    return readLabels(labels, this.length, index => this.#read(at(index), index), where)
  }

  /** One element by itself, through the map stages, as epoch 0 gives it at `position`. */
  #read(index: number, position: number): T | Promise<T> {
    let element = this.source.at(index)
    for (const { fn, options } of this.stages) {
      const context = mapContext(options.seed, 0, position)
      element = element instanceof Promise ? element.then(value => fn(value, context)) : fn(element, context)
    }
    return element as T | Promise<T>
  }

  #finite(where: string): void {
    if (this.length !== Infinity) return
    throw new AnnealError('ERR_VALUE', `${where}: the dataset is repeated without end; ${where} first and repeat after`)
  }

  #reordered(order: Order): IndexedDataset<T> {
    return new IndexedDataset(this.source, order, this.stages)
  }

  #batches(size: number, dropLast: boolean, finish: (stacked: unknown) => unknown) {
    const { source, order } = this
    return async function* ({ epoch, skip }: Position): AsyncGenerator<unknown, void> {
      for await (const [reader, indices] of blocks(source, order, { epoch, skip: skip * size }, size)) {
        if (indices.length === size || !dropLast) yield finish(await reader.gather(indices))
      }
    }
  }
}

function readElements<T>(
  source: Source<unknown>,
  order: Order,
  stages: readonly Stage[],
  position: Position,
): AsyncGenerator<T, void> {
  let elements = readBlocks(source, order, position)
  for (const { fn, options } of stages) elements = mapElements(elements, position, fn, options)
  return elements as AsyncGenerator<T, void>
}

/** Reads in blocks, so that neighbours in a file come in one read. */
async function* readBlocks(source: Source<unknown>, order: Order, position: Position): AsyncGenerator<unknown, void> {
  for await (const [reader, indices] of blocks(source, order, position, BLOCK)) yield* await reader.read(indices)
}

async function* blocks<T>(
  source: Source<T>,
  order: Order,
  { epoch, skip }: Position,
  size: number,
): AsyncGenerator<[Reader<T>, number[]], void> {
  if (skip >= order.length) return
  const at = order.at(epoch)
  const reader = await source.open()
  try {
    for (let start = skip; start < order.length; start += size) {
      if (overdue()) await breathe()
      const length = Math.min(size, order.length - start)
      yield [reader, Array.from({ length }, (_, i) => at(start + i))]
    }
  } finally {
    await reader.close?.()
  }
}
