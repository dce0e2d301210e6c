import { arrays, type TypedArray } from '../dtype'
import { AnnealError } from '../errors'
import { sizeOf } from '../shape'

export type { TypedArray }

/** The dtypes that a typed array can hold on the host. */
export type ArrayDType = keyof typeof arrays

/** Row-major values with their shape, on the host: what becomes a tensor. */
export interface NdArray<A extends TypedArray = TypedArray> {
  readonly data: A
  readonly shape: readonly number[]
  /** Follows from `data` where absent; `'bool'` has to be said, since its values lie in a `Uint8Array`. */
  readonly dtype?: ArrayDType
}

/** Numbers or booleans nested to any depth. */
export type Nested = readonly (number | boolean | bigint | TypedArray | Nested)[]

/** A zero-filled typed array of `length` values for `dtype`. */
export function allocate(dtype: ArrayDType, length: number): TypedArray {
  return new arrays[dtype](length)
}

export function isArrayDType(name: unknown): name is ArrayDType {
  return typeof name === 'string' && Object.hasOwn(arrays, name)
}

export function isTypedArray(value: unknown): value is TypedArray {
  return dtypeOfTypedArray(value) !== undefined
}

/** Whether `value` is `{ data, shape }` over a typed array that a tensor can be made from. */
export function isNdArray(value: unknown): value is NdArray {
  if (typeof value !== 'object' || value === null) return false
  const { data, shape } = value as Partial<NdArray>
  return ArrayBuffer.isView(data) && Array.isArray(shape)
}

/** The dtype of an {@link NdArray}, said or seen. Throws `ERR_DTYPE` for an array no tensor can hold. */
export function dtypeOf(array: NdArray): ArrayDType {
  return array.dtype ?? dtypeOfTypedArray(array.data) ?? unsupported(array.data)
}

/** Throws `ERR_SHAPE` unless the shape counts exactly the values of `data`. */
export function checkNdArray<A extends NdArray>(array: A, where: string): A {
  dtypeOf(array)
  const size = sizeOf(array.shape)
  if (!array.shape.every(d => Number.isSafeInteger(d) && d >= 0) || size !== array.data.length) {
    throw new AnnealError(
      'ERR_SHAPE',
      `${where}: shape [${array.shape}] needs ${size} values, but data has ${array.data.length}`,
    )
  }
  return array
}

/**
 * Nested arrays, a typed array, or a number as an {@link NdArray}: numbers become float32, booleans bool, bigints
 * int64; typed arrays keep their dtype. Throws `ERR_SHAPE` for ragged input and `ERR_DTYPE` for anything else.
 */
export function toNdArray(value: unknown, where: string): NdArray {
  if (isNdArray(value)) return withoutBuffer(checkNdArray(value, where))
  if (ArrayBuffer.isView(value)) {
    const data = isTypedArray(value) ? value : unsupported(value)
    return withoutBuffer({ data, shape: [data.length] })
  }
  const { shape, dtype } = probe(value, where)
  const data = allocate(dtype, sizeOf(shape))
  const end = fill(value, data, shape, 0, dtype, 0, where)
  if (end !== data.length) throw new AnnealError('ERR_INTERNAL', `${where}: wrote ${end} of ${data.length} values`)
  return { data, shape, dtype }
}

/** A Buffer is a Uint8Array whose `slice` shares memory; only plain arrays go on from here. */
function withoutBuffer(array: NdArray): NdArray {
  const { data } = array
  return Buffer.isBuffer(data) ? { ...array, data: new Uint8Array(data.buffer, data.byteOffset, data.length) } : array
}

function dtypeOfTypedArray(value: unknown): ArrayDType | undefined {
  if (value instanceof Float32Array) return 'float32'
  if (value instanceof Float64Array) return 'float64'
  if (value instanceof Int32Array) return 'int32'
  if (value instanceof Uint8Array) return 'uint8'
  if (value instanceof Int8Array) return 'int8'
  if (value instanceof BigInt64Array) return 'int64'
  return undefined
}

function unsupported(value: unknown): never {
  throw new AnnealError(
    'ERR_DTYPE',
    `data: expected a Float32, Float64, Int8, Uint8, Int32 or BigInt64 array, got ${describe(value)}; convert it first`,
  )
}

/** A few words on what a value is, for messages. */
export function describe(value: unknown): string {
  if (value === null || typeof value === 'undefined') return String(value)
  if (typeof value === 'string') return `text ${JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)}`
  if (typeof value === 'object') return Array.isArray(value) ? 'an array' : `a ${value.constructor?.name ?? 'object'}`
  return `${typeof value} ${String(value)}`
}

/** Shape and dtype as the first element at each depth says; `fill` checks the others against it. */
function probe(value: unknown, where: string): { shape: number[]; dtype: ArrayDType } {
  const shape: number[] = []
  let inner = value
  while (Array.isArray(inner)) {
    shape.push(inner.length)
    if (inner.length === 0) return { shape, dtype: 'float32' }
    inner = inner[0]
  }
  if (isTypedArray(inner)) return { shape: [...shape, inner.length], dtype: dtypeOf({ data: inner, shape: [] }) }
  if (typeof inner === 'number') return { shape, dtype: 'float32' }
  if (typeof inner === 'boolean') return { shape, dtype: 'bool' }
  if (typeof inner === 'bigint') return { shape, dtype: 'int64' }
  throw new AnnealError('ERR_DTYPE', `${where}: expected numbers, booleans or typed arrays, got ${describe(inner)}`)
}

function fill(
  value: unknown,
  out: TypedArray,
  shape: readonly number[],
  depth: number,
  dtype: ArrayDType,
  at: number,
  where: string,
): number {
  if (depth === shape.length) {
    out[at] = scalar(value, dtype, where)
    return at + 1
  }
  const length = Array.isArray(value) || isTypedArray(value) ? value.length : undefined
  if (length !== shape[depth]) {
    const found = length === undefined ? describe(value) : `${length} values`
    throw new AnnealError(
      'ERR_SHAPE',
      `${where}: ragged array: expected ${shape[depth]} values at depth ${depth}, got ${found}`,
    )
  }
  if (isTypedArray(value)) {
    if (depth !== shape.length - 1 || dtypeOf({ data: value, shape: [] }) !== dtype) {
      throw new AnnealError(
        'ERR_DTYPE',
        `${where}: expected every row to be of the first row's type, got ${describe(value)}`,
      )
    }
    ;(out as Float64Array).set(value as Float64Array, at)
    return at + value.length
  }
  for (const inner of value as unknown[]) at = fill(inner, out, shape, depth + 1, dtype, at, where)
  return at
}

function scalar(value: unknown, dtype: ArrayDType, where: string): never {
  const fits =
    dtype === 'int64'
      ? typeof value === 'bigint'
      : dtype === 'bool'
        ? typeof value === 'boolean'
        : typeof value === 'number'
  if (!fits) {
    const ragged = Array.isArray(value) || ArrayBuffer.isView(value)
    throw new AnnealError(
      ragged ? 'ERR_SHAPE' : 'ERR_DTYPE',
      `${where}: ${ragged ? 'ragged array: ' : ''}expected a ${dtype} value, got ${describe(value)}`,
    )
  }
  // The caller's array is of this dtype, so its element type is this value's: one union TypeScript cannot follow.
  return value as never
}
