import { AnnealError } from '../errors'
import { breathe, overdue } from './breathe'
import { passEpoch } from './order'
import { Random } from './random'

/** Where a pass begins: at element `skip` of epoch `epoch`. */
export interface Position {
  readonly epoch: number
  readonly skip: number
}

/** Makes the elements of one pass, from a position on. Ending the generator early releases what it holds. */
export type Generate<T> = (position: Position) => AsyncGenerator<T, void, undefined>

/** What a map function is told beside the element. */
export interface MapContext {
  /** The element's place in the pass, from 0. */
  readonly index: number
  readonly epoch: number
  /** Random numbers of this element in this epoch: the same in every run, whatever the concurrency. */
  readonly random: Random
  /** Aborted when the pass ends before this element is done. */
  readonly signal: AbortSignal
}

/** Makes one element of another. */
export type MapFunction<T, U> = (element: T, context: MapContext) => U | Promise<U>

export interface MapOptions {
  /** How many elements may be in work at once; default 1. Order is kept. */
  readonly concurrency?: number
  /** Seed of `context.random`; default 0. */
  readonly seed?: number
}

/** Passes over the first `count` elements; for a source that cannot jump. */
async function* discard<T>(elements: AsyncGenerator<T, void>, count: number): AsyncGenerator<T, void> {
  let left = count
  for await (const element of elements) {
    if (left > 0) left--
    else yield element
  }
}

/** Makes a generator that always starts at element 0 start anywhere. */
export function seekable<T>(fromStart: (epoch: number) => AsyncGenerator<T, void>): Generate<T> {
  return ({ epoch, skip }) => (skip === 0 ? fromStart(epoch) : discard(fromStart(epoch), skip))
}

/** `fn` over the elements, up to `concurrency` at once, results in the elements' order. */
export async function* mapElements<T, U>(
  elements: AsyncGenerator<T, void>,
  { epoch, skip }: Position,
  fn: MapFunction<T, U>,
  { concurrency = 1, seed = 0 }: MapOptions,
): AsyncGenerator<U, void> {
  const running: Promise<U>[] = []
  const controller = new AbortController()
  const { signal } = controller
  let index = skip
  try {
    for await (const element of elements) {
      if (overdue()) await breathe()
      running.push(silenced(runMap(fn, element, mapContext(seed, epoch, index, signal))))
      index++
      if (running.length >= concurrency) yield await running.shift()!
    }
    while (running.length > 0) yield await running.shift()!
  } finally {
    // Nothing may go on working after the pass has ended.
    controller.abort()
    await Promise.allSettled(running)
  }
}

async function runMap<T, U>(fn: MapFunction<T, U>, element: T, context: MapContext): Promise<U> {
  try {
    return await fn(element, context)
  } catch (cause) {
    const code = cause instanceof AnnealError ? cause.code : 'ERR_VALUE'
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new AnnealError(code, `map: element ${context.index} of epoch ${context.epoch}: ${reason}`, { cause })
  }
}

const neverAborted = new AbortController().signal

export function mapContext(seed = 0, epoch: number, index: number, signal: AbortSignal = neverAborted): MapContext {
  let random: Random | undefined
  return {
    index,
    epoch,
    signal,
    get random() {
      random ??= new Random(seed, epoch, index)
      return random
    },
  }
}

/** Its rejection is awaited later, in order; until then it must not count as unhandled. */
function silenced<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

export async function* filterElements<T>(
  elements: AsyncGenerator<T, void>,
  predicate: (element: T, index: number) => boolean | Promise<boolean>,
): AsyncGenerator<T, void> {
  let index = 0
  for await (const element of elements) {
    if (await predicate(element, index++)) yield element
  }
}

/**
 * Shuffles through a buffer of `bufferSize` elements: each element that comes replaces a random one, which leaves.
 * Elements move about `bufferSize` places at most on average, so files sorted by class need a large buffer.
 */
export async function* shuffleElements<T>(
  elements: AsyncGenerator<T, void>,
  bufferSize: number,
  random: Random,
): AsyncGenerator<T, void> {
  const buffer: T[] = []
  for await (const element of elements) {
    if (buffer.length < bufferSize) {
      buffer.push(element)
      continue
    }
    const place = random.int(bufferSize)
    const leaving = buffer[place]!
    buffer[place] = element
    yield leaving
  }
  yield* random.shuffle(buffer)
}

export async function* batchElements<T, U>(
  elements: AsyncGenerator<T, void>,
  size: number,
  dropLast: boolean,
  collate: (elements: T[]) => U | Promise<U>,
): AsyncGenerator<U, void> {
  let batch: T[] = []
  for await (const element of elements) {
    batch.push(element)
    if (batch.length === size) {
      yield await collate(batch)
      batch = []
    }
  }
  if (batch.length > 0 && !dropLast) yield await collate(batch)
}

/** Keeps up to `count` elements in the making while the consumer works on an earlier one. */
export async function* prefetchElements<T>(elements: AsyncGenerator<T, void>, count: number): AsyncGenerator<T, void> {
  let stopped = false
  let last: Promise<IteratorResult<T, void>> | undefined
  // One after another, each starting by itself, until the consumer leaves: then only the one in work is finished.
  const pull = async (before: typeof last) => {
    await before
    return stopped ? ({ done: true, value: undefined } as const) : elements.next()
  }
  const next = () => {
    last = silenced(pull(last))
    return last
  }
  const pending = Array.from({ length: count }, next)
  try {
    while (true) {
      const { done, value } = await pending.shift()!
      if (done) return
      pending.push(next())
      yield value
    }
  } finally {
    stopped = true
    await Promise.allSettled(pending)
    await elements.return()
  }
}

export async function* takeElements<T>(elements: AsyncGenerator<T, void>, count: number): AsyncGenerator<T, void> {
  let left = count
  if (left <= 0) return
  for await (const element of elements) {
    yield element
    if (--left <= 0) return
  }
}

/** Every `count`-th element from the `index`-th on. */
export async function* shardElements<T>(
  elements: AsyncGenerator<T, void>,
  index: number,
  count: number,
): AsyncGenerator<T, void> {
  let position = 0
  for await (const element of elements) {
    if (position++ % count === index) yield element
  }
}

/** One pass after another; passes that give nothing end it. */
export async function* repeatElements<T>(generate: Generate<T>, epoch: number, count: number): AsyncGenerator<T, void> {
  for (let pass = 0; pass < count; pass++) {
    let empty = true
    for await (const element of generate({ epoch: passEpoch(epoch, pass, count), skip: 0 })) {
      empty = false
      yield element
    }
    if (empty) return
  }
}

/** The elements whose random number, drawn by seed and place, lies in [from, to): disjoint parts of one stream. */
export async function* partElements<T>(
  elements: AsyncGenerator<T, void>,
  seed: number,
  from: number,
  to: number,
): AsyncGenerator<T, void> {
  let index = 0
  for await (const element of elements) {
    const chance = new Random(seed, index++).float()
    if (chance >= from && chance < to) yield element
  }
}
