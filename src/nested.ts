import { arrays, type DType, isFloat, type TypedArray } from './dtype'
import { AnnealError } from './errors'
import { sizeOf } from './shape'

/** Nested arrays of numbers or booleans, as deep as the tensor has axes. */
export type NestedArray<T = number | boolean | bigint> = T | readonly NestedArray<T>[]

/** Flat values as nested arrays; bool as booleans. */
export function nest(data: TypedArray, shape: readonly number[], dtype: DType, axis = 0, offset = 0): NestedArray {
  if (axis === shape.length) return dtype === 'bool' ? data[offset] !== 0 : data[offset]!
  const step = sizeOf(shape.slice(axis + 1))
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

/** Flat values in a typed array, and its dtype: the wanted one, or else one from which they can be cast to it. */
export function toTyped(
  flat: readonly (number | boolean | bigint)[],
  wanted: DType | undefined,
): { data: TypedArray; stored: DType } {
  const stored = storedIn(flat, wanted)
  if (stored === 'int64') return { data: BigInt64Array.from(flat, toBigInt), stored }
  return { data: arrays[stored].from(flat.map(Number)), stored }
}

function storedIn(flat: readonly (number | boolean | bigint)[], wanted: DType | undefined) {
  if (wanted === 'float64' || wanted === 'int32' || wanted === 'int64') return wanted
  if (wanted !== undefined && isFloat(wanted)) return 'float32'
  if (flat.some(value => typeof value === 'bigint')) return 'int64'
  return flat.length > 0 && flat.every(value => typeof value === 'boolean') ? 'bool' : 'float32'
}

function toBigInt(value: number | boolean | bigint): bigint {
  if (typeof value === 'number' && !Number.isInteger(value)) {
    throw new AnnealError(
      'ERR_VALUE',
      `tensor: int64 takes integers; got ${value}. For fractions, beside bigints too, say { dtype: 'float64' }`,
    )
  }
  return BigInt(value)
}
