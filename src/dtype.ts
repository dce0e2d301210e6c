import { AnnealError } from './errors'

/** The element types, in the order of the native library's enumeration. */
export const dtypes = ['float32', 'float64', 'float16', 'bfloat16', 'int8', 'uint8', 'int32', 'int64', 'bool'] as const

/** The name of an element type. */
export type DType = (typeof dtypes)[number]

/** The typed arrays that hold tensors on the host. */
export type TypedArray = Float32Array | Float64Array | Int8Array | Uint8Array | Int32Array | BigInt64Array

/** The place of `dtype` in {@link dtypes}; throws ERR_DTYPE for an unknown name, which was found `where`. */
export function dtypeIndex(dtype: DType, where?: string): number {
  const index = dtypes.indexOf(dtype)
  if (index < 0) {
    const at = where === undefined ? '' : `${where}: `
    throw new AnnealError('ERR_DTYPE', `${at}unknown dtype '${String(dtype)}'; expected one of ${dtypes.join(', ')}`)
  }
  return index
}

export function isFloat(dtype: DType): boolean {
  return dtypeIndex(dtype) < 4
}

/** Bytes of one element. */
export function itemSize(dtype: DType): number {
  return dtype === 'float16' || dtype === 'bfloat16' ? 2 : arrays[dtype].BYTES_PER_ELEMENT
}

/** What the values of each dtype come in on the host, where there is such an array. */
export const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
} as const

/** Bytes in row-major order as the typed array of their dtype (16-bit floats are read as float32 instead). */
export function viewOf(dtype: Exclude<DType, 'float16' | 'bfloat16'>, buffer: ArrayBuffer): TypedArray {
  return new arrays[dtype](buffer)
}

/** The dtype whose elements a typed array holds; throws ERR_DTYPE for one that no dtype matches. */
export function dtypeOf(array: ArrayBufferView): Exclude<DType, 'bfloat16'> {
  const kind = array.constructor.name
  switch (kind) {
    case 'Float32Array':
      return 'float32'
    case 'Float64Array':
      return 'float64'
    case 'Float16Array':
      return 'float16'
    case 'Int8Array':
      return 'int8'
    case 'Uint8Array':
    case 'Uint8ClampedArray':
    case 'Buffer':
      return 'uint8'
    case 'Int32Array':
      return 'int32'
    case 'BigInt64Array':
      return 'int64'
    default:
      throw new AnnealError(
        'ERR_DTYPE',
        `tensor: a ${kind} has no dtype of its own; expected a Float32Array, Float64Array, Float16Array, Int8Array, Uint8Array, Int32Array or BigInt64Array`,
      )
  }
}
