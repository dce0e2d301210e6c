import type { DType, TypedArray } from './dtype'
import { AnnealError } from './errors'

/** Nested arrays of numbers or booleans, as deep as the tensor has axes. */
export type NestedArray<T = number | boolean | bigint> = T | readonly NestedArray<T>[]

/** Flat values as nested arrays; bool as booleans. */
export function nest(data: TypedArray, shape: readonly number[], dtype: DType, axis = 0, offset = 0): NestedArray {
  if (axis === shape.length) return dtype === 'bool' ? data[offset] !== 0 : data[offset]!
  const step = shape.slice(axis + 1).reduce((n, d) => n * d, 1)
  return Array.from({ length: shape[axis]! }, (_, i) => nest(data, shape, dtype, axis + 1, offset + i * step))
}

/** The shape of nested arrays, checked to be the same along every axis. */
export function shapeOf(values: NestedArray): number[] {
  const shape: number[] = []
  for (let v = values; Array.isArray(v); v = v[0] as NestedArray) shape.push(v.length)
  return shape
}

/** Appends nested values in row-major order; throws ERR_SHAPE where the arrays are ragged. */
export function flatten(
  values: NestedArray,
  shape: readonly number[],
  out: (number | boolean | bigint)[],
  path: number[],
) {
  const depth = path.length
  if (!Array.isArray(values)) {
    if (
      depth === shape.length &&
      (typeof values === 'number' || typeof values === 'boolean' || typeof values === 'bigint')
    ) {
      out.push(values)
      return
    }
    const where = path.length ? `at [${path}]` : 'as values'
    const expected = depth < shape.length ? `an array of ${shape[depth]}` : 'a number, boolean or bigint'
    throw new AnnealError(
      'ERR_SHAPE',
      `tensor: expected ${expected} ${where}; got ${values === null ? 'null' : typeof values}`,
    )
  }
  if (depth === shape.length || values.length !== shape[depth]) {
    const expected = depth === shape.length ? 'a number' : `${shape[depth]} elements`
    throw new AnnealError(
      'ERR_SHAPE',
      `tensor: ragged array: expected ${expected} at [${path}]; got an array of ${values.length}`,
    )
  }
  for (const [i, v] of values.entries()) flatten(v as NestedArray, shape, out, [...path, i])
}

/** Flat values in a typed array that a dtype matches. */
export function toTyped(flat: (number | boolean | bigint)[], dtype: DType | undefined): ArrayBufferView {
  const first = flat[0]
  if (typeof first === 'bigint' || dtype === 'int64') return BigInt64Array.from(flat, toBigInt)
  if (typeof first === 'boolean' && (dtype === undefined || dtype === 'bool')) return Uint8Array.from(flat, Number)
  if (dtype === 'float64') return Float64Array.from(flat, Number)
  if (dtype === 'int32') return Int32Array.from(flat, Number)
  return Float32Array.from(flat, Number)
}

function toBigInt(value: number | boolean | bigint): bigint {
  if (typeof value === 'number' && !Number.isInteger(value)) {
    throw new AnnealError('ERR_VALUE', `tensor: int64 takes integers; got ${value}`)
  }
  return BigInt(value)
}
