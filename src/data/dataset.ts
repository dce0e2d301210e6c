import { AnnealError } from '../errors'
import { type Batch, stack, toTensors } from './collate'
import { DatasetIterator, type IterateOptions } from './iterator'
import {
  batchElements,
  filterElements,
  type Generate,
  type MapFunction,
  type MapOptions,
  mapElements,
  partElements,
  prefetchElements,
  repeatElements,
  seekable,
  shardElements,
  shuffleElements,
  takeElements,
} from './operators'
import { checkCount, checkShard } from './order'
import { cumulative, type SplitOptions } from './partition'
import { checkSeed, Random } from './random'
import { type WorkerMapOptions, workerMap } from './workers'

export interface ShuffleOptions {
  /** Chooses the order, together with the epoch; default 0. */
  readonly seed?: number
  /** Elements held to shuffle among; default 1024 for a stream. An indexed dataset shuffles exactly without it. */
  readonly bufferSize?: number
}

export interface BatchOptions<T, U> {
  /** Leaves out a last batch of fewer elements; default false. */
  readonly dropLast?: boolean
  /**
   * Makes a batch of its elements; by default {@link stack} and then tensors. `collate: stack` alone gives typed
   * arrays, and `collate: elements => elements` plain arrays.
   */
  readonly collate?: (elements: T[]) => U | Promise<U>
}

/** A fraction of a dataset for each entry of `F`. */
export type Parts<F extends readonly number[], D> = { -readonly [K in keyof F]: D }

const DEFAULT_BUFFER = 1024

/**
 * Elements that are made when asked for, any number of times: a lazy, re-iterable stream.
 *
 * A pass over it is one epoch. Everything random follows from seeds and the epoch, so a pass can be repeated, and
 * continued from any place, exactly: `iterate({ epoch, skip })`. A plain `for await` takes epoch 0 the first time,
 * epoch 1 the next, and so on. Leaving a loop early closes files and stops workers.
 */
export class Dataset<T> implements AsyncIterable<T> {
  #nextEpoch = 0

  /**
   * @param generate - makes one pass
   * @param length - how many elements a pass has; undefined where only reading tells, Infinity where it never ends
   */
  constructor(
    readonly generate: Generate<T>,
    readonly length?: number,
  ) {}

  /** One pass, from element `skip` of epoch `epoch` (both 0 by default); its `state()` continues it elsewhere. */
  iterate(options: IterateOptions = {}): DatasetIterator<T> {
    return new DatasetIterator(this.generate, options)
  }

  [Symbol.asyncIterator](): DatasetIterator<T> {
    return this.iterate({ epoch: this.#nextEpoch++ })
  }

  /** All elements of epoch 0, in an array. */
  async toArray(): Promise<T[]> {
    if (this.length === Infinity) throw new AnnealError('ERR_VALUE', 'toArray: the dataset never ends; take(n) first')
    const elements: T[] = []
    for await (const element of this.iterate()) elements.push(element)
    return elements
  }

  /**
   * `fn` over every element, up to `concurrency` at once, in order. What `fn` throws ends the pass with an error that
   * names the element and has the original as its `cause`. Random augmentation takes its numbers from
   * `context.random`, so that a resumed run sees the same.
   */
  map<U>(fn: MapFunction<T, U>, options: MapOptions = {}): Dataset<U> {
    checkMapOptions(options)
    return new Dataset(position => mapElements(this.generate(position), position, fn, options), this.length)
  }

  /**
   * Maps in worker threads, for work that would keep the event loop busy: `file` is a JavaScript module whose default
   * export (or `module.exports`) takes an element and gives a new one. Elements must be structured-cloneable.
   */
  mapInWorkers<U>(file: string | URL, options: WorkerMapOptions = {}): Dataset<U> {
    return new Dataset(workerMap<T, U>(this.generate, file, options), this.length)
  }

  /** The elements for which `predicate` holds. */
  filter(predicate: (element: T, index: number) => boolean | Promise<boolean>): Dataset<T> {
    return new Dataset(seekable(epoch => filterElements(this.generate({ epoch, skip: 0 }), predicate)))
  }

  /** Shuffles, differently in each epoch, among `bufferSize` elements at a time, which it holds in memory. */
  shuffle({ seed = 0, bufferSize = DEFAULT_BUFFER }: ShuffleOptions = {}): Dataset<T> {
    checkSeed(seed, 'shuffle')
    checkCount(bufferSize, 1, 'shuffle: bufferSize')
    const pass = (epoch: number) => {
      return shuffleElements(this.generate({ epoch, skip: 0 }), bufferSize, new Random(seed, epoch))
    }
    return new Dataset(seekable(pass), this.length)
  }

  /**
   * Groups elements in batches of `size`, as tensors with a new first axis: `[x, y]` elements give `[X, Y]` tensors,
   * records give records of tensors. See {@link stack} for what fits together and what it throws.
   */
  batch(size: number, options?: BatchOptions<T, Batch<T>>): Dataset<Batch<T>>
  batch<U>(size: number, options: BatchOptions<T, U>): Dataset<U>
  batch(size: number, options: BatchOptions<T, unknown> = {}): unknown {
    checkCount(size, 1, 'batch: size')
    const { dropLast = false, collate = (elements: T[]) => toTensors<T>(stack(elements)) } = options
    return new Dataset(
      ({ epoch, skip }) => batchElements(this.generate({ epoch, skip: skip * size }), size, dropLast, collate),
      batchCount(this.length, size, dropLast),
    )
  }

  /** Makes up to `count` elements ahead while the consumer works; their errors come in their turn. */
  prefetch(count = 2): Dataset<T> {
    checkCount(count, 1, 'prefetch: count')
    return new Dataset(position => prefetchElements(this.generate(position), count), this.length)
  }

  /** `count` passes one after another, endless by default; each pass is an epoch of its own to shuffles before it. */
  repeat(count = Infinity): Dataset<T> {
    if (count !== Infinity) checkCount(count, 0, 'repeat: count')
    const length = this.length === undefined || this.length === 0 ? this.length : this.length * count
    return new Dataset(
      seekable(epoch => repeatElements(this.generate, epoch, count)),
      count === 0 ? 0 : length,
    )
  }

  /** The first `count` elements; of a shuffled dataset, others in each epoch (`split` fixes them). */
  take(count: number): Dataset<T> {
    checkCount(count, 0, 'take: count')
    return new Dataset(
      position => takeElements(this.generate(position), count - position.skip),
      this.length === undefined ? undefined : Math.min(count, this.length),
    )
  }

  /** All but the first `count` elements. */
  skip(count: number): Dataset<T> {
    checkCount(count, 0, 'skip: count')
    return new Dataset(
      ({ epoch, skip }) => this.generate({ epoch, skip: skip + count }),
      this.length === undefined ? undefined : Math.max(0, this.length - count),
    )
  }

  /** Every `count`-th element from the `index`-th on: what process `index` of `count` reads. */
  shard(index: number, count: number): Dataset<T> {
    checkShard(index, count)
    return new Dataset(
      ({ epoch, skip }) => shardElements(this.generate({ epoch, skip: skip * count }), index, count),
      this.length === undefined ? undefined : Math.max(0, Math.ceil((this.length - index) / count)),
    )
  }

  /**
   * Disjoint datasets with about the given fractions of the elements. A stream gives each element to a part by a
   * number drawn from the seed and its place in epoch 0, so sizes are near, not exact, and reading one part reads the
   * whole stream. An indexed dataset splits exactly, and can stratify.
   */
  split<const F extends readonly number[]>(fractions: F, options: SplitOptions<T> = {}): Parts<F, Dataset<T>> {
    const seed = checkSeed(options.seed ?? 0, 'split')
    if (options.stratify !== undefined || options.shuffle === false) {
      throw new AnnealError(
        'ERR_STATE',
        'split: a stream can neither stratify nor keep its order; load it first: fromItems(await dataset.toArray())',
      )
    }
    const bounds = cumulative(fractions)
    const parts = fractions.map((_, i) => {
      // Membership is that of epoch 0: a shuffle before must not move elements from one part to another.
      const pass = () => partElements(this.generate({ epoch: 0, skip: 0 }), seed, bounds[i]!, bounds[i + 1]!)
      return new Dataset(seekable(pass))
    })
    return parts as Parts<F, Dataset<T>>
  }
}

export function checkMapOptions({ concurrency = 1, seed = 0 }: MapOptions): void {
  checkCount(concurrency, 1, 'map: concurrency')
  checkSeed(seed, 'map')
}

export function batchCount(length: number | undefined, size: number, dropLast: boolean): number | undefined {
  if (length === undefined) return undefined
  return dropLast ? Math.floor(length / size) : Math.ceil(length / size)
}
