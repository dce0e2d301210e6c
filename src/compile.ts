import { putCall, resultsOf } from './call'
import { currentRecording, type Recording, refuseWhileCapturing, withRecording } from './capturing'
import { AnnealError } from './errors'
import { type GraphDescription, printGraph, writeGraphPage } from './explain'
import { scope } from './lifetime'
import { currentMode, modeBits } from './mode'
import { native, throwLast } from './native'
import { nameOf, replaceTensors, structureOf, templateOf } from './structure'
import { Tensor } from './tensor'

/** Options of {@link compile}. */
export interface CompileOptions {
  /** How many graphs are kept, for as many signatures; the one that was used longest ago is dropped. Default: 16. */
  graphs?: number
}

/** A function whose calls run a captured graph; see {@link compile}. */
export interface CompiledFunction<A extends readonly unknown[], R> {
  (...args: A): R
  /** How many graphs have been captured and are kept. */
  readonly graphs: number
  /**
   * Runs the function once more with `args` (their state changes, as in every call), and tells of each operation how long
   * it took and what it moved.
   */
  explain(...args: A): Promise<Explanation>
  /** Drops the captured graphs. */
  dispose(): void
}

/** What a compiled function does; `String(explanation)` is a table. */
export interface Explanation extends GraphDescription {
  toString(): string
  /** Writes a self-contained HTML page. */
  save(path: string): Promise<void>
}

// The graphs of functions that are gone. It must not refer to the functions, so it gets their numbers only.
const graphsOf = new FinalizationRegistry<Set<number>>(ids => {
  for (const id of ids) native.freeProgram(id)
})

/** One captured graph: what it was captured for, and how its results are given back. */
interface Entry {
  readonly id: number
  readonly structure: string
  readonly mode: number
  readonly recording: Recording
  readonly result: (tensors: readonly Tensor[]) => unknown
  /** How long capturing and planning took. */
  readonly captureSeconds: number
}

/**
 * A function like `fn` that runs as one planned native call: a training step (forward, backward, clipping and update) or
 * an inference. The first call with new shapes, dtypes or structure of arguments runs `fn` once to capture what it does;
 * later ones do not run it. Arguments and results are tensors, alone or in arrays and plain objects; other arguments are
 * constants, and a new value captures anew.
 *
 * Parameters and tensors that `fn` closes over are read anew at every run, learning rates and step counts of optimizers
 * too; numbers and everything else that JavaScript decides are frozen. Results carry no gradient: call `backward()` inside.
 * @throws ERR_CAPTURE when `fn` reads a value or is async, with the line that does it.
 */
export function compile<A extends readonly unknown[], R>(
  fn: (...args: A) => R,
  options: CompileOptions = {},
): CompiledFunction<A, R> {
  if (typeof fn !== 'function') {
    throw new AnnealError(
      'ERR_VALUE',
      `compile: expected a function; got ${nameOf(fn)}. For a module: compile(x => model.forward(x))`,
    )
  }
  const { graphs: capacity = 16 } = options
  if (!Number.isInteger(capacity) || capacity < 1) {
    throw new AnnealError('ERR_VALUE', `compile: graphs must be a whole number from 1 on; got ${capacity}`)
  }
  let entries: Entry[] = []
  const ids = new Set<number>()
  const drop = (dropped: readonly Entry[]) => {
    for (const { id } of dropped) {
      ids.delete(id)
      native.freeProgram(id)
    }
  }

  function entryFor(args: A, inputs: readonly Tensor[], structure: string): Entry {
    const mode = modeBits(currentMode())
    for (const [i, entry] of entries.entries()) {
      if (entry.structure !== structure || entry.mode !== mode || !fits(entry, inputs)) continue
      if (i > 0) entries = [entry, ...entries.filter(other => other !== entry)]
      return entry
    }
    const entry: Entry = { structure, mode, ...capture(fn, args, inputs) }
    ids.add(entry.id)
    drop(entries.slice(capacity - 1))
    entries = [entry, ...entries.slice(0, capacity - 1)]
    return entry
  }

  const prepared = (args: A): [Entry, Tensor[]] => {
    const inputs: Tensor[] = []
    const structure = structureOf(args, inputs)
    return [entryFor(args, inputs, structure), inputs]
  }
  const call = (...args: A): R => {
    if (currentRecording()) return fn(...args)
    const [entry, inputs] = prepared(args)
    return run(entry, inputs) as R
  }
  graphsOf.register(call, ids)
  return Object.defineProperties(call, {
    graphs: { get: () => entries.length },
    explain: {
      value: async (...args: A): Promise<Explanation> => {
        const [entry, inputs] = prepared(args)
        native.profileProgram(entry.id)
        run(entry, inputs)
        await native.synchronize()
        const described = native.describeProgram(entry.id) ?? throwLast()
        const graph = { ...described, captureSeconds: entry.captureSeconds }
        return { ...graph, toString: () => printGraph(graph), save: path => writeGraphPage(graph, path) }
      },
    },
    dispose: {
      value: () => {
        drop(entries)
        entries = []
      },
    },
  }) as CompiledFunction<A, R>
}

function fits(entry: Entry, inputs: readonly Tensor[]): boolean {
  for (const { read, was } of entry.recording.conditions) if (!Object.is(read(), was)) return false
  putCall(inputs, [])
  const result = native.programFits(entry.id, currentMode().grad)
  if (result < 0) throwLast()
  return result === 1
}

function run(entry: Entry, inputs: readonly Tensor[]): unknown {
  const numbers: number[] = []
  const { preparations } = entry.recording
  for (const { prepare } of preparations) prepare(numbers)
  putCall(inputs, numbers)
  const count = native.runProgram(entry.id)
  if (count < 0) for (const { undo } of preparations) undo?.()
  return entry.result(resultsOf(count))
}

/** Runs `fn` on tensors without values, and keeps what it does. */
function capture<A extends readonly unknown[]>(
  fn: (...args: A) => unknown,
  args: A,
  inputs: readonly Tensor[],
): Omit<Entry, 'structure' | 'mode'> {
  const start = performance.now()
  const differentiable = currentMode().grad ? inputs.findIndex(t => t.requiresGrad) : -1
  if (differentiable >= 0) {
    throw new AnnealError(
      'ERR_CAPTURE',
      `compile: argument tensor ${differentiable} requires a gradient, which would not flow out of the function; pass ` +
        'detach(), or a Parameter, or let the function close over it',
    )
  }
  const recording: Recording = { preparations: [], conditions: [], decided: new Set() }
  const handles = native.beginCapture(inputs.map(t => t.handle)) ?? throwLast()
  return withRecording(recording, () => {
    const { random } = Math
    Math.random = () => {
      refuseWhileCapturing('Math.random(), which would always give the same')
      return random()
    }
    try {
      return scope(() => {
        const symbols = handles.map(handle => new Tensor(handle))
        const given = replaceTensors(args, symbols[Symbol.iterator]()) as A
        const results: Tensor[] = []
        const result = templateOf(checkedResult(fn(...given), recording), results)
        const id = native.finishCapture(results.map(t => t.handle))
        if (id < 0) throwLast()
        return { id, recording, result, captureSeconds: (performance.now() - start) / 1000 }
      })
    } catch (error) {
      throw recording.failure ?? error
    } finally {
      Math.random = random
      native.abortCapture()
    }
  })
}

function checkedResult(result: unknown, { failure }: Recording): unknown {
  if (result instanceof Promise) {
    result.catch(() => {}) // what it may reject with is no news beside this error
    throw (
      failure ??
      new AnnealError(
        'ERR_CAPTURE',
        'compile: the function is async; only what it does before its first await could run',
      )
    )
  }
  if (failure) throw failure
  return result
}

/** A number that is read anew before every run of the function that is being captured; elsewhere its value now. */
export function live(read: () => number): number | Tensor {
  const recording = currentRecording()
  if (!recording) return read()
  recording.preparations.push({ prepare: numbers => numbers.push(read()) })
  const handle = native.liveNumber()
  if (handle < 0) throwLast()
  return new Tensor(handle)
}

/** Runs `fn` at once even while a function is captured, as for state that is made on first use. */
export function outsideCapture<R>(fn: () => R): R {
  if (!currentRecording()) return fn()
  native.pauseCapture(true)
  try {
    return withRecording(undefined, fn)
  } finally {
    native.pauseCapture(false)
  }
}
