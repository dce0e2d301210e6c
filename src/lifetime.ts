import { currentMode, withMode } from './mode'
import { native } from './native'
import type { Tensor } from './tensor'

// Finalizers come in batches, after a collection. A handle carries its slot's generation, so that one that was disposed of
// before is not freed twice: nothing has to be unregistered.
const finalizers = new FinalizationRegistry<number>(handle => {
  native.free(handle)
  stacks?.delete(handle)
})

let stacks: Map<number, string> | undefined

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
export function noteCreated(tensor: Tensor): void {
  sinceTurn++
  finalizers.register(tensor, tensor.handle)
  if (stacks) stacks.set(tensor.handle, new Error().stack!.split('\n').slice(3).join('\n'))
}

/** @internal */
export function noteDisposed(tensor: Tensor): void {
  stacks?.delete(tensor.handle)
}

/**
 * Runs `fn` and then disposes of every tensor made inside it, also across `await`, except those that it returns (alone, or
 * in arrays and plain objects). Scopes nest: what an inner scope returns belongs to the outer one.
 */
export function scope<R>(fn: () => R): R {
  const owned = new Set<Tensor>()
  const finish = (result: unknown, outer: Set<{ dispose(): void }> | undefined) => {
    const kept = new Set<unknown>()
    collect(result, kept)
    for (const tensor of owned) {
      if (!kept.has(tensor)) tensor.dispose()
      else outer?.add(tensor)
    }
  }
  const outer = currentMode().scope
  let result: R
  try {
    result = withMode({ scope: owned as Set<{ dispose(): void }> }, fn)
  } catch (error) {
    finish(undefined, outer)
    throw error
  }
  if (result instanceof Promise) {
    return result.then(
      value => {
        finish(value, outer)
        return value
      },
      error => {
        finish(undefined, outer)
        throw error
      },
    ) as R
  }
  finish(result, outer)
  return result
}

function collect(value: unknown, into: Set<unknown>): void {
  if (value === null || typeof value !== 'object' || into.has(value)) return
  into.add(value)
  if (Array.isArray(value)) for (const v of value) collect(v, into)
  else if (Object.getPrototypeOf(value) === Object.prototype) for (const v of Object.values(value)) collect(v, into)
}

/** Takes a tensor out of the scopes that it was made in: it then lives until it is disposed of or collected. */
export function keep<T extends Tensor>(tensor: T): T {
  currentMode().scope?.delete(tensor)
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

/** True counters of the memory of tensors, in bytes. */
export function memory(): MemoryReport {
  return native.memory()
}

/** Starts the measurement of {@link MemoryReport.peak} anew. */
export function resetPeakMemory(): void {
  native.resetPeak()
}

/** The most bytes that tensors may take; an op that would pass it throws ERR_MEMORY and lists the largest. 0: no limit. */
export function setMemoryLimit(bytes: number): void {
  native.setMemoryLimit(bytes)
}

/** Returns memory kept for reuse to the operating system, after waiting for queued work. */
export function emptyCache(): void {
  native.emptyCache()
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
