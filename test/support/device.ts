import type { Tensor } from 'anneal'

const device = process.env.ANNEAL_TEST_DEVICE ?? 'cpu'
if (device !== 'cpu') throw new Error(`ANNEAL_TEST_DEVICE=${device}: this build computes on the cpu only`)

/** Puts a test's input on the device that the tests run on: the only place that knows which. */
export function place(tensor: Tensor): Tensor {
  return tensor
}
