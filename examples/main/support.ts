import { AnnealError, type Tensor, tensor } from 'anneal'
import type { NdArray } from 'anneal/data'

/** Features and targets as tensors. */
export function tensors(features: NdArray, targets: Float32Array | Int32Array): [Tensor, Tensor] {
  return [tensor(features), tensor(targets)]
}

/** Fails when a figure is below what this program promises. */
export function confirm(what: string, value: number, least: number): void {
  if (!(value >= least)) throw new AnnealError('ERR_STATE', `${what}: expected at least ${least}; got ${value}`)
}
