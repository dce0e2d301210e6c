import { isMainThread } from 'node:worker_threads'
import type { DeviceInfo, DeviceName } from './device'
import { AnnealError, type ErrorCode } from './errors'
import { loadNative } from './load'

/** One attribute of an op as the registry describes it. */
export interface AttributeSchema {
  name: string
  doc: string
  type: 'boolean' | 'integer' | 'number' | 'dtype' | 'integers' | 'numbers' | 'text' | 'choice'
  choices: string[]
  required: boolean
  default: string
}

/** One op as the registry describes it: inputs marked `name?` are optional, `name...` any number. */
export interface OpSchema {
  id: number
  name: string
  doc: string
  inputs: string[]
  outputs: string[]
  method: boolean
  internal: boolean
  gradient: 'vjp' | 'lower' | 'nonDifferentiable'
  lowered: boolean
  kernels: string[]
  attributes: AttributeSchema[]
}

/** One operation of a captured graph. */
export interface GraphOperation {
  name: string
  /** What it reads and writes: '%3 float32[2,4]' for the result of an operation, else where it comes from. */
  inputs: string[]
  outputs: string[]
  attributes: string
  /** About how many scalar operations it does. */
  work: number
  /** Bytes read and written. */
  bytes: number
  /** Bytes of intermediate results that are held while it runs. */
  live: number
  /** How long it took in the run that was measured; -1: never measured. */
  nanoseconds: number
}

/** How the runs of a captured graph were started on a GPU. */
export interface Replays {
  /** How often the operations were recorded as a CUDA graph. */
  recorded: number
  /** Runs that were one launch of such a recording. */
  replayed: number
  /**
   * Runs whose operations were launched one by one: the first, those that `explain` measured, and two whenever the memory of
   * a parameter is another than before.
   */
  separate: number
  /** Why the operations cannot be recorded; empty: they can. */
  problem: string
}

/** A captured graph as the native library knows it. */
export interface NativeGraph {
  operations: GraphOperation[]
  /** Bytes of the memory that intermediate results share. */
  arenaBytes: number
  /** The most bytes of them that are held at one time: the least that they could share in this order. */
  liveBytes: number
  /** Only on a GPU. */
  replays?: Replays
  /** What people should know who look at it. */
  notes: string[]
}

/** Handles are numbers; -1 stands for none. Functions that can fail give -1, false or undefined, and `lastError` says why. */
export interface NativeAddon {
  call(): void
  bind(scratch: Float64Array): Float64Array
  lastError(): { code: ErrorCode; message: string }
  fromData(data: ArrayBufferView, dtype: number, device?: DeviceName): number
  deviceOf(handle: number): DeviceName | undefined
  read(handle: number): Promise<ArrayBuffer>
  ready(handle: number): Promise<void>
  readSync(handle: number): ArrayBuffer | undefined
  describe(handle: number): boolean
  assign(target: number, source: number, converts: boolean, given: boolean): boolean
  free(count: number): void
  release(count: number): void
  elements(handle: number, begin: number, count: number): number
  mapTensors(path: string, offsets: number[], dtypes: number[], shapes: number[][]): number[] | undefined
  requireGrad(handle: number, on: boolean): boolean
  detach(handle: number): number
  grad(handle: number): number
  setGrad(handle: number, gradient: number): boolean
  backward(root: number, seed: number, retainGraph: boolean, createGraph: boolean): boolean
  gradients(
    roots: number[],
    seeds: number[],
    wanted: number[],
    retainGraph: boolean,
    createGraph: boolean,
  ): number[] | undefined
  custom(inputs: number[], outputs: number[], gradient: (grads: number[]) => number[]): boolean
  checkpoint(
    inputs: number[],
    output: number,
    closesOver: boolean,
    again: (inputs: number[], take: (result: number) => boolean) => void,
  ): boolean
  differentiableCalls(): number
  dependsOnOthers(handle: number, own: number[]): number
  beginCapture(handles: number[]): number[] | undefined
  finishCapture(handles: number[]): number
  abortCapture(): void
  pauseCapture(on: boolean): void
  captureRegion(region: number): number
  liveNumber(): number
  programFits(id: number, recordsGradients: boolean): number
  runProgram(id: number): number
  freeProgram(id: number): void
  profileProgram(id: number): void
  describeProgram(id: number): NativeGraph | undefined
  schema(): OpSchema[]
  device(name?: string): DeviceName | undefined
  devices(): DeviceInfo[]
  memory(
    device?: DeviceName,
  ): Record<'tensors' | 'used' | 'pooled' | 'peak' | 'limit' | 'blocks' | 'allocations', number> | undefined
  resetPeak(device?: DeviceName): boolean
  setMemoryLimit(bytes: number, device?: DeviceName): boolean
  emptyCache(device?: DeviceName): boolean
  allReduce(handles: number[], mean: boolean, recordGradients: boolean): number[] | undefined
  synchronize(): Promise<void>
  synchronizeSync(): void
  quiesce(): void
  generator(seed?: number, offset?: number): [seed: number, offset: number]
  threads(): number
  setThreads(count: number): void
  fastFloat32(): boolean
  setFastFloat32(fast: boolean): void
  doctor(): Record<string, string>
  doctorCuda(): Record<string, string>
  offerCudaLibrary(path: string, problem: string): void
}

/** The native library, loaded once per environment. */
export const native = loadNative() as NativeAddon

/** Calls pass numbers to the native library, and get them back, through this array; see native/node/call.cpp. */
export const scratch = native.bind(new Float64Array(1 << 17))

// process.exit() ends the process without tearing this environment down: kernels must not run on meanwhile.
if (isMainThread) process.once('exit', () => native.quiesce())

/** Throws the error that the native library kept of its last failing call. */
export function throwLast(): never {
  const { code, message } = native.lastError()
  throw new AnnealError(code, message)
}

/** `handle`, unless it says that the call failed. */
export function checked(handle: number): number {
  if (handle === -1) throwLast()
  return handle
}
