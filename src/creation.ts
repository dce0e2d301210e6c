import { putShape } from './call'
import { isNdArray, type NdArray } from './data/ndarray'
import type { DeviceName } from './device'
import { type DType, dtypeIndex, dtypeOf } from './dtype'
import { AnnealError } from './errors'
import { range } from './internal.generated'
import { checked, native } from './native'
import { flatten, type NestedArray, shapeOf, toTyped } from './nested'
import { Tensor } from './tensor'

export interface TensorOptions {
  /**
   * The dtype of the result. Default: that of a typed array; else int64 where there is a bigint (all must be integers then),
   * bool for booleans alone, and float32.
   */
  dtype?: DType
  /** The shape, for flat data. */
  shape?: readonly number[]
  /** Whether `backward()` collects a gradient in it. */
  requiresGrad?: boolean
  /** Where the values go. Default: the device of `setDevice()`, at first 'cpu'. */
  device?: DeviceName
}

/**
 * A tensor of the given values, which are copied: a number, nested arrays, a typed array (flat; see `shape`), or
 * `{ data, shape }` as scalers and encoders give it.
 * @throws ERR_SHAPE for ragged arrays and for a shape that does not fit; ERR_DTYPE for an unknown dtype.
 */
export function tensor(values: NestedArray | ArrayBufferView | NdArray, options: TensorOptions = {}): Tensor {
  if (isNdArray(values)) {
    const { data, shape, dtype } = values
    return tensor(data, { ...options, shape: options.shape ?? shape, dtype: options.dtype ?? dtype })
  }
  const { dtype } = options
  if (dtype !== undefined) dtypeIndex(dtype)
  let data: ArrayBufferView
  let shape = options.shape
  let stored: DType
  if (ArrayBuffer.isView(values)) {
    data = values
    stored = dtypeOf(values)
    shape ??= [(values as unknown as { length: number }).length]
  } else {
    const nested = shapeOf(values)
    const flat: (number | boolean | bigint)[] = []
    flatten(values, nested, flat, [])
    ;({ data, stored } = toTyped(flat, dtype))
    shape ??= nested
  }
  putShape(shape)
  let result = new Tensor(checked(native.fromData(data, dtypeIndex(stored), options.device)))
  if (dtype !== undefined && dtype !== stored) {
    const converted = result.cast(dtype)
    result.dispose()
    result = converted
  }
  return options.requiresGrad ? result.requireGrad() : result
}

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
