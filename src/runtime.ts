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

/** Sets the number of threads that kernels use, for the whole process. */
export function setThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1) {
    throw new AnnealError('ERR_VALUE', `setThreads: expected a whole number from 1 on; got ${count}`)
  }
  native.setThreads(count)
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

/** Continues the random numbers from what {@link randomState} gave. */
export function setRandomState([seed, offset]: [seed: number, offset: number]): void {
  refuseWhileCapturing('setRandomState()')
  native.generator(seed, offset)
}
