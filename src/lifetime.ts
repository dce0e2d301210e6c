import type { DeviceName } from './device'
import { AnnealError } from './errors'
import { currentMode, type Mode, type Owner, withMode } from './mode'
import { native, scratch, throwLast } from './native'
import { isPlainObject } from './objects'
import type { Tensor } from './tensor'

let stacks: Map<number, string> | undefined

// Finalizers come in batches, after a collection, and their handles are passed on in batches too.
const finalized: number[] = []
const finalizers = new FinalizationRegistry<number>(handle => {
  if (finalized.push(handle) === 1) queueMicrotask(releaseFinalized)
})

function releaseFinalized() {
  release(finalized)
  finalized.length = 0
}

/** Frees tensors of which no JavaScript object is left, or none that knows its handle: the handles are used again. */
function release(handles: readonly number[]) {
  for (let done = 0; done < handles.length; ) {
    let count = 0
    while (count < scratch.length && done < handles.length) scratch[count++] = handles[done++]!
    native.release(count)
  }
  if (stacks) for (const handle of handles) stacks.delete(handle)
}

// The handle of a tensor whose own has been given to another: that of no tensor.
const noHandle = 2 ** 31 - 1

const tensorsPerTurn = 8192
let sinceTurn = 0

/**
 * @internal Finalizers run between turns of the event loop only, which a loop whose awaits are all fulfilled at once never
 * ends: after many new tensors, whoever awaits values waits for the next turn too.
 */
export function turnDue(): Promise<void> | undefined {
  if (sinceTurn < tensorsPerTurn) return undefined
  sinceTurn = 0
  return new Promise(resolve => setImmediate(resolve))
}

/** @internal */
export function noteCreated(tensor: Tensor, { scope }: Mode): void {
  sinceTurn++
  if (scope) scope.add(tensor)
  else finalizers.register(tensor, tensor.handle)
  if (stacks) stacks.set(tensor.handle, new Error().stack!.split('\n').slice(3).join('\n'))
}

/** @internal Frees a tensor's memory. Its handle stays its own. */
export function free(tensor: Tensor): void {
  stacks?.delete(tensor.handle)
  scratch[0] = tensor.handle
  native.free(1)
}

/**
 * The tensors made in a scope. While a scope is sure to end, which it is until it awaits, its tensors need no finalizers:
 * registering them costs about as much as a small op.
 */
class Scope implements Owner {
  #fresh: Tensor[] = [] // without finalizers
  #registered: Tensor[] = []
  #state: 'running' | 'awaiting' | 'ended' = 'running'
  readonly #outer: Owner | undefined

  constructor(outer: Owner | undefined) {
    this.#outer = outer
  }

  add(tensor: Tensor, registered = false) {
    if (this.#state === 'running' && !registered) {
      this.#fresh.push(tensor)
      return
    }
    if (!registered) finalizers.register(tensor, tensor.handle)
    if (this.#state !== 'ended') this.#registered.push(tensor)
  }

  remove(tensor: Tensor) {
    if (take(this.#fresh, tensor)) finalizers.register(tensor, tensor.handle)
    else if (!take(this.#registered, tensor)) this.#outer?.remove(tensor)
  }

  /** From now on the scope may never end, and then what nobody holds is left to finalizers. */
  await() {
    this.#state = 'awaiting'
    for (const tensor of this.#fresh) this.add(tensor)
    this.#fresh = []
  }

  /** Frees all but what `result` holds, which the outer scope takes over. */
  end(result: unknown) {
    const outer = this.#outer
    const kept = new Set<unknown>()
    collect(result, kept)
    const gone: number[] = []
    for (const tensor of this.#fresh) {
      if (!kept.has(tensor)) {
        gone.push(tensor.handle)
        tensor.handle = noHandle
      } else if (outer) {
        outer.add(tensor)
      } else {
        finalizers.register(tensor, tensor.handle)
      }
    }
    release(gone)
    for (const tensor of this.#registered) {
      if (kept.has(tensor)) outer?.add(tensor, true)
      else free(tensor)
    }
    this.#state = 'ended'
    this.#fresh = []
    this.#registered = []
  }
}

/** Takes `tensor`, which is likely to be among the last, out of `list`. */
function take(list: Tensor[], tensor: Tensor): boolean {
  const at = list.lastIndexOf(tensor)
  if (at >= 0) list.splice(at, 1)
  return at >= 0
}

/**
 * Runs `fn` and then disposes of every tensor made inside it, also across `await`, except those that it returns (alone, or
 * in arrays and plain objects). Scopes nest: what an inner scope returns belongs to the outer one.
 */
export function scope<R>(fn: () => R): R {
  const owner = new Scope(currentMode().scope)
  let result: R
  try {
    result = withMode({ scope: owner }, fn)
  } catch (error) {
    owner.end(undefined)
    throw error
  }
  if (result instanceof Promise) {
    owner.await()
    return result.then(
      value => {
        owner.end(value)
        return value
      },
      error => {
        owner.end(undefined)
        throw error
      },
    ) as R
  }
  owner.end(result)
  return result
}

function collect(value: unknown, into: Set<unknown>): void {
  if (value === null || typeof value !== 'object' || into.has(value)) return
  into.add(value)
  if (Array.isArray(value)) for (const v of value) collect(v, into)
  else if (isPlainObject(value)) for (const v of Object.values(value)) collect(v, into)
}

/** Takes a tensor out of the scopes that it was made in: it then lives until it is disposed of or collected. */
export function keep<T extends Tensor>(tensor: T): T {
  currentMode().scope?.remove(tensor)
  return tensor
}

/** What {@link memory} counts, in bytes unless said otherwise. */
export interface MemoryReport {
  /** Live tensors of this environment. */
  tensors: number
  /** Bytes held by live tensors of the process. */
  used: number
  /** Bytes kept for reuse. */
  pooled: number
  /** The most bytes held by live tensors since the start or {@link resetPeakMemory}. */
  peak: number
  /** The most bytes that `used` and `pooled` may reach; 0: no limit. */
  limit: number
  /** Blocks of memory in use. */
  blocks: number
  /** How often memory had to be asked of the operating system. */
  allocations: number
}

/** True counters of the memory of tensors, in bytes: of a device, or else of the default one. */
export function memory(device?: DeviceName): MemoryReport {
  return native.memory(device) ?? throwLast()
}

/** Starts the measurement of {@link MemoryReport.peak} anew. */
export function resetPeakMemory(device?: DeviceName): void {
  if (!native.resetPeak(device)) throwLast()
}

/** The most bytes that tensors may take; an op that would pass it throws ERR_MEMORY and lists the largest. 0: no limit. */
export function setMemoryLimit(bytes: number, device?: DeviceName): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0) {
    throw new AnnealError(
      'ERR_VALUE',
      `setMemoryLimit: expected a whole number of bytes, 0 for no limit; got ${String(bytes)}`,
    )
  }
  if (!native.setMemoryLimit(bytes, device)) throwLast()
}

/** Returns memory kept for reuse to the operating system or the GPU, after waiting for queued work. */
export function emptyCache(device?: DeviceName): void {
  if (!native.emptyCache(device)) throwLast()
}

/** Starts (or stops) to remember where tensors are made, for {@link leakReport}. Slow: for debugging. */
export function trackTensors(on: boolean): void {
  stacks = on ? new Map() : undefined
}

/** The tensors still alive of those made since {@link trackTensors}, grouped by where they were made, most first. */
export function leakReport(): { count: number; stack: string }[] {
  const groups = new Map<string, number>()
  for (const stack of stacks?.values() ?? []) groups.set(stack, (groups.get(stack) ?? 0) + 1)
  return [...groups].map(([stack, count]) => ({ count, stack })).sort((a, b) => b.count - a.count)
}
