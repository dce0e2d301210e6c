import { gradEnabled } from './autograd'
import { refuseWhileCapturing } from './capturing'
import { AnnealError } from './errors'
import { native, throwLast } from './native'
import { Tensor } from './tensor'

/** Options of {@link allReduce}. */
export interface AllReduceOptions {
  /** What the results are: the sum of the tensors, or their mean (of floating-point tensors). Default: 'sum'. */
  op?: 'sum' | 'mean'
}

/**
 * Adds up what several devices hold: tensors of one shape and dtype, each on a device of its own, give as many tensors, in
 * the same order, each the sum (or mean) on its own device. All devices get the same bits. Data-parallel training averages
 * the gradients of its replicas so.
 *
 * GPUs do it among themselves where NCCL is there (`npx anneal doctor` says so) and no gradient is recorded; the order of
 * the additions is NCCL's then. Otherwise all is added up on the first tensor's device, in the order of the list, and copied
 * from there; gradients flow back through that. Nothing waits.
 * @throws ERR_SHAPE or ERR_DTYPE where tensors differ, or cannot be added up; ERR_DEVICE where two are on one device;
 * ERR_VALUE for an empty list; ERR_CAPTURE inside of a function that `compile()` captures, which works on one device.
 */
export function allReduce(tensors: readonly Tensor[], options: AllReduceOptions = {}): Tensor[] {
  const { op = 'sum' } = options
  if (op !== 'sum' && op !== 'mean') {
    throw new AnnealError('ERR_VALUE', `allReduce: expected op 'sum' or 'mean'; got '${String(op)}'`)
  }
  if (!Array.isArray(tensors) || !tensors.every(t => t instanceof Tensor)) {
    throw new AnnealError('ERR_VALUE', 'allReduce: expected a list of tensors, one of each device')
  }
  if (tensors.length > 1) refuseWhileCapturing('allReduce() over several devices')
  const handles = tensors.map((t: Tensor) => t.handle)
  const results = native.allReduce(handles, op === 'mean', gradEnabled()) ?? throwLast()
  return results.map(handle => new Tensor(handle))
}
