import type { DType } from './dtype'
import { AnnealError } from './errors'
import { range } from './internal.generated'
import type { Tensor } from './tensor'

export interface ArangeOptions {
  /** The dtype of the result. Default: float32. */
  dtype?: DType
}

/**
 * The numbers from `start` (0 when absent) up to, not including, `stop`, by `step` (1 when absent), computed in float64.
 * @throws ERR_VALUE for a step of 0, or numbers that are not finite.
 */
export function arange(stop: number, options?: ArangeOptions): Tensor
export function arange(start: number, stop: number, options?: ArangeOptions): Tensor
export function arange(start: number, stop: number, step: number, options?: ArangeOptions): Tensor
export function arange(...args: (number | ArangeOptions | undefined)[]): Tensor {
  const numbers = args.filter(a => typeof a === 'number')
  const options = args.find(a => typeof a === 'object')
  const [start, stop, step = 1] = numbers.length === 1 ? [0, numbers[0]!] : numbers
  if (start === undefined || stop === undefined || ![start, stop, step].every(Number.isFinite) || step === 0) {
    throw new AnnealError(
      'ERR_VALUE',
      `arange: expected (stop), (start, stop) or (start, stop, step), finite and with a step other than 0; got (${numbers.join(', ')})`,
    )
  }
  return range(start, step, Math.max(0, Math.ceil((stop - start) / step)), options)
}
