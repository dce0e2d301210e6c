import { inspect } from 'node:util'
import { refuseWhileCapturing } from './capturing'
import { AnnealError } from './errors'
import { native } from './native'

/** Resolves when all the work queued so far is done. */
export function synchronize(): Promise<void> {
  return native.synchronize()
}

/** The number of threads that kernels use. */
export function getThreads(): number {
  return native.threads()
}

const mostThreads = 1024 // where the operating system grants fewer than are asked for, the process would end

/** Sets the number of threads that kernels use, for the whole process: from 1 to 1024. */
export function setThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > mostThreads) {
    throw new AnnealError('ERR_VALUE', `setThreads: expected a whole number from 1 to ${mostThreads}; got ${count}`)
  }
  native.setThreads(count)
}

/** How precisely GPUs compute products of float32: as such, or with factors rounded to TF32. */
export type Float32Precision = 'highest' | 'high'

/**
 * Sets how GPUs compute matrix products and convolutions of float32 from here on, for the whole process: 'highest', as
 * float32, or 'high', with factors rounded to TF32 (10 bits of mantissa, float32's range), which is several times as fast.
 * What PyTorch's function of this name does, for convolutions as well. A compiled function keeps what held when its graph
 * was first run on the GPU. At first it is 'highest', or 'high' where ANNEAL_CUDA_TF32=1 is set. The CPU always computes in
 * float32.
 */
export function setFloat32MatmulPrecision(precision: Float32Precision): void {
  if (precision !== 'highest' && precision !== 'high') {
    throw new AnnealError(
      'ERR_VALUE',
      `setFloat32MatmulPrecision: expected 'highest' or 'high'; got ${String(precision)}`,
    )
  }
  refuseWhileCapturing('setFloat32MatmulPrecision()')
  native.setFastFloat32(precision === 'high')
}

/** What {@link setFloat32MatmulPrecision} has set. */
export function getFloat32MatmulPrecision(): Float32Precision {
  return native.fastFloat32() ? 'high' : 'highest'
}

/** Seeds the random numbers of this environment: the same seed gives the same numbers on every device. */
export function manualSeed(seed: number): void {
  if (!Number.isSafeInteger(seed)) throw new AnnealError('ERR_VALUE', `manualSeed: expected an integer; got ${seed}`)
  refuseWhileCapturing('manualSeed()')
  native.generator(seed, 0)
}

/** The state of the random numbers, to be set again with {@link setRandomState}. */
export function randomState(): [seed: number, offset: number] {
  return native.generator()
}

/**
 * Continues the random numbers from what {@link randomState} gave.
 * @throws ERR_VALUE for what it cannot have given.
 */
export function setRandomState(state: readonly [seed: number, offset: number]): void {
  const [seed, offset] = Array.isArray(state) ? state : [Number.NaN, Number.NaN]
  if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(offset) || offset < 0) {
    throw new AnnealError(
      'ERR_VALUE',
      `setRandomState: expected what randomState() gave, [seed, offset]: two integers, the offset 0 or more; got ${inspect(state)}`,
    )
  }
  refuseWhileCapturing('setRandomState()')
  native.generator(seed, offset)
}
