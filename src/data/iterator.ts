import { AnnealError } from '../errors'
import type { Generate } from './operators'
import { checkCount } from './order'

/** Where a pass stands. It is what {@link Dataset.iterate} takes, and plain JSON. */
export interface DatasetState {
  readonly epoch: number
  /** Elements of the epoch that have been given out. */
  readonly skip: number
}

export interface IterateOptions extends Partial<DatasetState> {
  /** Ends the pass: the pending and every later `next` rejects with `ERR_ABORTED`, and files are closed. */
  readonly signal?: AbortSignal
}

/**
 * One pass over a dataset. `state()` tells where it stands, and `dataset.iterate(state)` continues there with exactly
 * the elements that would have come next, in this process or another.
 */
export class DatasetIterator<T> implements AsyncIterableIterator<T, void, undefined> {
  readonly #elements: AsyncGenerator<T, void>
  readonly #signal: AbortSignal | undefined
  #epoch: number
  #skip: number
  #ended = false

  constructor(generate: Generate<T>, { epoch = 0, skip = 0, signal }: IterateOptions) {
    this.#epoch = checkCount(epoch, 0, 'iterate: epoch')
    this.#skip = checkCount(skip, 0, 'iterate: skip')
    this.#signal = signal
    this.#elements = generate({ epoch, skip })
  }

  /** The position after the last element given; after the end, the start of the next epoch. */
  state(): DatasetState {
    return { epoch: this.#epoch, skip: this.#skip }
  }

  async next(): Promise<IteratorResult<T, void>> {
    const result = this.#signal ? await this.#nextUnless(this.#signal) : await this.#elements.next()
    if (!result.done) this.#skip++
    else if (!this.#ended) this.#end()
    return result
  }

  #end(): void {
    this.#ended = true
    this.#epoch++
    this.#skip = 0
  }

  async return(): Promise<IteratorResult<T, void>> {
    this.#ended = true
    await this.#elements.return()
    return { done: true, value: undefined }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async #nextUnless(signal: AbortSignal): Promise<IteratorResult<T, void>> {
    if (signal.aborted) return this.#abort(signal)
    const next = this.#elements.next()
    let stop = (): void => {}
    const aborted = new Promise<'aborted'>(resolve => {
      stop = () => resolve('aborted')
      signal.addEventListener('abort', stop, { once: true })
    })
    const first = await Promise.race([next, aborted]).finally(() => signal.removeEventListener('abort', stop))
    if (first !== 'aborted') return first
    next.catch(() => {})
    return this.#abort(signal)
  }

  #abort(signal: AbortSignal): never {
    this.#ended = true
    // Not awaited: the element in work may take long, and the files close as soon as it is done.
    this.#elements.return().catch(() => {})
    throw new AnnealError('ERR_ABORTED', 'iterate: the pass was aborted through its signal', { cause: signal.reason })
  }
}
