import { tensor } from '../creation'
import { AnnealError } from '../errors'
import { isPlainObject } from '../objects'
import { sizeOf } from '../shape'
import { Tensor } from '../tensor'
import {
  type ArrayDType,
  allocate,
  describe,
  dtypeOf,
  isNdArray,
  type NdArray,
  type TypedArray,
  toNdArray,
} from './ndarray'

type Scalar = number | boolean | bigint
type Numeric = Scalar | TypedArray | NdArray | readonly Numeric0[]
type Numeric0 = Scalar | readonly Scalar[] | readonly (readonly Scalar[])[]

/**
 * What a batch of elements of type `T` is, with `L` (a tensor, or an {@link NdArray}) in place of each numeric part:
 * a tuple or array element gives a tuple, a record gives a record, text gives an array of strings.
 */
export type Batched<T, L> = T extends TypedArray | NdArray | Scalar
  ? L
  : T extends string | null | undefined
    ? T[]
    : T extends readonly unknown[]
      ? { -readonly [K in keyof T]: BatchedPart<T[K], L> }
      : { -readonly [K in keyof T]: BatchedPart<T[K], L> }

type BatchedPart<T, L> = T extends Numeric ? L : Batched<T, L>

/** A batch as tensors: what {@link Dataset.batch} gives by default. */
export type Batch<T> = Batched<T, Tensor>
/** A batch as typed arrays with shapes: what {@link stack} gives. */
export type Stacked<T> = Batched<T, NdArray>

/**
 * Stacks elements along a new first axis into typed arrays, without making tensors. An element is a number, a typed
 * array, `{ data, shape }`, or a tuple or record of these (and of nested number arrays); text is gathered in an array.
 * An element that is itself an array is a tuple: each member is stacked by itself, so `[x, y]` pairs give `[X, Y]`.
 *
 * @throws AnnealError `ERR_VALUE` for no elements, `ERR_SHAPE` where shapes differ, `ERR_DTYPE` where types do.
 */
export function stack<T>(elements: readonly T[]): Stacked<T> {
  if (elements.length === 0) throw new AnnealError('ERR_VALUE', 'batch: expected at least one element, got none')
  return stackPart(elements, 'element', true) as Stacked<T>
}

/** The tensors of a tree of {@link NdArray}s as {@link stack} makes it; text stays as it is. */
export function toTensors<T>(stacked: Stacked<T>): Batch<T> {
  return mapArrays(stacked, array => tensor(array)) as Batch<T>
}

/** Applies `fn` to every {@link NdArray} in tuples and records nested to any depth. */
export function mapArrays(tree: unknown, fn: (array: NdArray) => unknown): unknown {
  if (isNdArray(tree)) return fn(tree)
  if (Array.isArray(tree)) return tree.map(part => mapArrays(part, fn))
  if (!isPlainObject(tree)) return tree
  return Object.fromEntries(Object.entries(tree).map(([key, part]) => [key, mapArrays(part, fn)]))
}

function stackPart(parts: readonly unknown[], path: string, isElement: boolean): unknown {
  const first = parts[0]
  if (typeof first === 'number') return stackNumbers(parts, path)
  if (isText(first)) return stackText(parts, path)
  if (Array.isArray(first) && (isElement || !isNumeric(first))) return stackTuples(parts, first.length, path)
  if (isPlainObject(first) && !isNdArray(first)) return stackRecords(parts, Object.keys(first), path)
  if (first instanceof Tensor) refuseTensors(path)
  return stackArrays(parts, path)
}

/** Whether a nested array holds plain numbers at its first leaf, so that it is one value and no tuple. */
function isNumeric(value: readonly unknown[]): boolean {
  const first = value[0]
  return Array.isArray(first)
    ? isNumeric(first)
    : first === undefined || ['number', 'boolean', 'bigint'].includes(typeof first)
}

function isText(value: unknown): boolean {
  return typeof value === 'string' || value === null || value === undefined
}

function stackText(parts: readonly unknown[], path: string): unknown[] {
  const other = parts.findIndex(part => !isText(part))
  if (other >= 0) mismatch(path, other, 'text', describe(parts[other]), 'ERR_DTYPE')
  return [...parts]
}

function stackNumbers(parts: readonly unknown[], path: string): NdArray {
  const data = new Float32Array(parts.length)
  for (let i = 0; i < parts.length; i++) {
    const value = parts[i]
    if (typeof value !== 'number') mismatch(path, i, 'a number', describe(value), 'ERR_DTYPE')
    data[i] = value as number
  }
  return { data, shape: [parts.length], dtype: 'float32' }
}

function stackTuples(parts: readonly unknown[], length: number, path: string): unknown[] {
  parts.forEach((part, i) => {
    if (!Array.isArray(part) || part.length !== length) {
      const found = Array.isArray(part) ? `${part.length} members` : describe(part)
      mismatch(path, i, `${length} members`, found, 'ERR_SHAPE')
    }
  })
  const rows = parts as readonly (readonly unknown[])[]
  return Array.from({ length }, (_, k) =>
    stackPart(
      rows.map(row => row[k]),
      `${path}[${k}]`,
      false,
    ),
  )
}

function stackRecords(parts: readonly unknown[], keys: readonly string[], path: string): Record<string, unknown> {
  parts.forEach((part, i) => {
    const found = isPlainObject(part) ? Object.keys(part) : undefined
    if (found?.length !== keys.length || !keys.every(key => Object.hasOwn(part as object, key))) {
      mismatch(
        path,
        i,
        `the keys ${keys.join(', ')}`,
        found ? `the keys ${found.join(', ')}` : describe(part),
        'ERR_SHAPE',
      )
    }
  })
  const rows = parts as readonly Record<string, unknown>[]
  const columns = keys.map(key => [
    key,
    stackPart(
      rows.map(row => row[key]),
      `${path}.${key}`,
      false,
    ),
  ])
  return Object.fromEntries(columns)
}

function refuseTensors(path: string): never {
  throw new AnnealError(
    'ERR_DTYPE',
    `batch: ${path}: expected numbers or typed arrays, got a Tensor; if the elements are batches already, leave out ` +
      'batchSize, which fit uses for validation data too; if they are examples, give batch a collate function that stacks them',
  )
}

function stackArrays(parts: readonly unknown[], path: string): NdArray {
  const first = toNdArray(parts[0], `batch: ${path}`)
  const dtype = dtypeOf(first)
  const size = sizeOf(first.shape)
  const data = allocate(dtype, size * parts.length)
  for (let i = 0; i < parts.length; i++) {
    const row = i === 0 ? first : toNdArray(parts[i], `batch: ${path} ${i}`)
    if (row.shape.length !== first.shape.length || row.shape.some((d, k) => d !== first.shape[k])) {
      mismatch(path, i, `shape [${first.shape}]`, `shape [${row.shape}]`, 'ERR_SHAPE')
    }
    if (dtypeOf(row) !== dtype) mismatch(path, i, dtype, dtypeOf(row), 'ERR_DTYPE')
    copy(row.data, data, i * size)
  }
  return { data, shape: [parts.length, ...first.shape], dtype }
}

/** Copies the rows `indices` of `column` (along its first axis) into one new array. */
export function gatherRows(column: NdArray, indices: readonly number[]): NdArray {
  const rowShape = column.shape.slice(1)
  const size = sizeOf(rowShape)
  const dtype: ArrayDType = dtypeOf(column)
  const data = allocate(dtype, size * indices.length)
  for (let i = 0; i < indices.length; i++) {
    const start = indices[i]! * size
    // A view for every single value would cost more than the value.
    if (size === 1) copyValue(column.data, start, data, i)
    else copy(column.data.subarray(start, start + size), data, i * size)
  }
  return { data, shape: [indices.length, ...rowShape], dtype }
}

// Both arrays of these two are of one dtype, which TypeScript cannot see in a union.
function copy(from: TypedArray, to: TypedArray, at: number): void {
  ;(to as Float64Array).set(from as Float64Array, at)
}

function copyValue(from: TypedArray, index: number, to: TypedArray, at: number): void {
  ;(to as Float64Array)[at] = (from as Float64Array)[index]!
}

/** Row `index` of `column` as an element: a number, a typed array, or `{ data, shape }` from rank 3 on; a copy. */
export function rowOf(column: NdArray, index: number): number | boolean | bigint | TypedArray | NdArray {
  const size = sizeOf(column.shape.slice(1))
  const dtype = dtypeOf(column)
  if (column.shape.length === 1) return dtype === 'float32' ? column.data[index]! : scalarRow(column, index, dtype)
  const data = column.data.slice(index * size, (index + 1) * size)
  if (column.shape.length === 2 && dtype !== 'bool') return data
  return { data, shape: column.shape.slice(1), dtype }
}

/** A plain number would be float32 again in a batch, so other dtypes are kept in an array without axes. */
function scalarRow(column: NdArray, index: number, dtype: ArrayDType): NdArray {
  return { data: column.data.slice(index, index + 1), shape: [], dtype }
}

function mismatch(
  path: string,
  index: number,
  expected: string,
  found: string,
  code: 'ERR_SHAPE' | 'ERR_DTYPE',
): never {
  throw new AnnealError(
    code,
    `batch: ${path} ${index} differs: expected ${expected} as in ${path} 0, got ${found}; pad, map or filter the elements, or give batch a collate function`,
  )
}

/** The one value of a number or of an array of size 1, as rows of integer labels are; anything else as it is. */
export function scalarOf(value: unknown): unknown {
  const data = isNdArray(value) ? value.data : value
  return ArrayBuffer.isView(data) && (data as TypedArray).length === 1 ? (data as TypedArray)[0] : value
}
