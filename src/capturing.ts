import { AnnealError } from './errors'

/** What a run of a captured function does besides the graph, and what must hold for it. */
export interface Recording {
  /** In the order of the function: what to do before each run, with the numbers to pass to it, and how to undo it. */
  readonly preparations: { readonly prepare: (numbers: number[]) => void; readonly undo?: () => void }[]
  /** State of objects that the function went by, with what it was. */
  readonly conditions: { readonly read: () => unknown; readonly was: unknown }[]
  /** Objects whose state the function has set itself, so that what it was before does not matter. */
  readonly decided: Set<object>
  /** The first attempt to do what cannot be captured. */
  failure?: AnnealError
}

let recording: Recording | undefined

/** What is being recorded, if a function is being captured here. */
export function currentRecording(): Recording | undefined {
  return recording
}

/** Runs `fn` while calls are recorded in `into` (or run at once, if undefined). */
export function withRecording<R>(into: Recording | undefined, fn: () => R): R {
  const before = recording
  recording = into
  try {
    return fn()
  } finally {
    recording = before
  }
}

/**
 * Does `action` now, or before every run of the function that is being captured; `undo` takes it back where such a run
 * cannot begin.
 */
export function everyRun(action: () => void, undo: () => void): void {
  if (recording) recording.preparations.push({ prepare: action, undo })
  else action()
}

/** Makes a captured function be captured anew when `read`, of the state of `owner`, gives something else than it does now. */
export function dependsOn(owner: object, read: () => unknown): void {
  if (recording && !recording.decided.has(owner)) recording.conditions.push({ read, was: read() })
}

/** Says that a captured function sets the state of `owner`. */
export function decides(owner: object): void {
  recording?.decided.add(owner)
}

/** Throws where values are wanted that a function being captured does not have. */
export function refuseWhileCapturing(what: string): void {
  if (!recording) return
  recording.failure ??= new AnnealError(
    'ERR_CAPTURE',
    `compile: ${what}${callerOf()}: a captured function has no values, and runs once only. Return tensors and read them ` +
      'outside of it, choose between values with where(), and pass in what changes',
  )
  throw recording.failure
}

/** The place of the first caller outside of this package, for messages. */
function callerOf(): string {
  const frames = new Error().stack?.split('\n').slice(1) ?? []
  const outside = frames.find(frame => !frame.includes(__dirname) && !frame.includes('node:'))
  const place = outside?.match(/\(?((?:file:|\/|[A-Z]:)[^()]*:\d+:\d+)\)?$/)
  return place ? ` at ${place[1]}` : ''
}
