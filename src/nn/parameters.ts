import { full } from '../ops.generated'
import { Buffer, Parameter } from '../tensor'
import { uniform } from './init'

/** A parameter of one value. */
export function filled(shape: readonly number[], value: number): Parameter {
  return new Parameter(full(shape, value))
}

/** A buffer of one value. */
export function filledBuffer(shape: readonly number[], value: number): Buffer {
  return new Buffer(full(shape, value))
}

/** A parameter uniform within ±1/√fanIn: what PyTorch's linear and convolution layers begin with. */
export function byFan(shape: readonly number[], fanIn: number): Parameter {
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0
  return uniform(filled(shape, 0), -bound, bound)
}
