import { AnnealError } from '../errors'
import { isPlainObject } from '../objects'
import type { DType, Tensor } from '../tensor'
import { breathe, overdue } from './breathe'
import { Dataset } from './dataset'
import { IndexedDataset } from './indexed'
import {
  type ArrayDType,
  describe,
  isArrayDType,
  type NdArray,
  type Nested,
  type TypedArray,
  toNdArray,
} from './ndarray'
import { seekable } from './operators'
import { ColumnSource, RowSource, Tuple } from './source'

/** The part of a tensor that a dataset reads. */
export interface TensorLike {
  readonly shape: readonly number[]
  readonly dtype: DType
  dataSync(): unknown
}

/** Values whose first axis counts the elements; text comes in an array of strings. */
export type Column = Nested | TypedArray | NdArray | TensorLike | readonly string[]
/** A column, or a record of columns for models with several named inputs or outputs. */
export type Columns = Column | { readonly [name: string]: Columns }

/** What an element holds of a column: text, or a number, typed array or `{ data, shape }`, by the column's shape. */
export type Cell<C> = C extends readonly string[]
  ? string
  : C extends readonly number[]
    ? number
    : C extends readonly (readonly number[])[]
      ? Float32Array
      : C extends Float32Array
        ? number
        : C extends TypedArray
          ? NdArray<C>
          : C extends NdArray<infer A>
            ? NdArray<A> | A | number
            : C extends Column
              ? NdArray | TypedArray | number
              : { -readonly [K in keyof C]: Cell<C[K]> }

/**
 * A dataset over arrays in memory, which all have one row per element along their first axis. With one argument an
 * element is a row of it; with more, a tuple of a row of each: `fromArrays(x, y)` gives `[x, y]` pairs, and a third
 * array may hold sample weights. A record of arrays gives records.
 *
 * Typed arrays and `{ data, shape }` are held and not copied. Nested numbers become float32; labels are best given as
 * `Int32Array`. Of a tensor the values are awaited on the spot, blocking: {@link fromTensors} does it without.
 *
 * @throws AnnealError `ERR_SHAPE` for ragged arrays and lengths that differ, `ERR_VALUE` for no rows.
 */
export function fromArrays<X extends Columns>(x: X): IndexedDataset<Cell<X>>
export function fromArrays<const A extends readonly Columns[]>(
  ...columns: A
): IndexedDataset<{ -readonly [K in keyof A]: Cell<A[K]> }>
export function fromArrays(...columns: readonly Columns[]): unknown {
  const names =
    columns.length === 2 ? ['x', 'y'] : columns.map((_, i) => (columns.length === 1 ? 'x' : `argument ${i}`))
  const members = columns.map((column, i) => readColumns(column, `fromArrays: ${names[i]}`))
  const lengths = members.flatMap((member, i) => countRows(member, names[i]!))
  const [first] = lengths
  const other = lengths.find(({ rows }) => rows !== first?.rows)
  if (!first || other) {
    const found = lengths.map(({ name, rows }) => `${name} has ${rows}`).join(', ')
    throw new AnnealError(
      'ERR_SHAPE',
      `fromArrays: expected as many rows in every array, but ${found || 'there is none'}`,
    )
  }
  if (first.rows === 0) throw new AnnealError('ERR_VALUE', 'fromArrays: expected at least one row, got none')
  return new IndexedDataset(new ColumnSource(members.length === 1 ? members[0] : new Tuple(members), first.rows))
}

/** As {@link fromArrays} for tensors, waiting for their values without blocking. */
export async function fromTensors<const A extends readonly Tensor[]>(
  ...tensors: A
): Promise<IndexedDataset<A extends readonly [Tensor] ? Cell<NdArray> : { -readonly [K in keyof A]: Cell<NdArray> }>> {
  const columns = await Promise.all(
    tensors.map(async t => ({ data: (await t.data()) as TypedArray, shape: t.shape, dtype: hostDType(t.dtype) })),
  )
  return fromArrays(...columns) as never
}

/** A dataset over any values in an array, which is held and not copied. */
export function fromItems<T>(items: readonly T[]): IndexedDataset<T> {
  return new IndexedDataset<T>(new RowSource(items.length, index => items[index]!))
}

/**
 * A stream over what `make` gives, called anew for each pass with its epoch: an array, a generator, a readable stream.
 * Nothing is held beside the element in hand.
 */
export function fromGenerator<T>(make: (epoch: number) => Iterable<T> | AsyncIterable<T>): Dataset<T> {
  if (typeof make !== 'function') {
    throw new AnnealError(
      'ERR_VALUE',
      `fromGenerator: expected a function that makes an iterable for each pass, got ${describe(make)}; wrap it: () => …`,
    )
  }
  return new Dataset<T>(
    seekable(async function* (epoch): AsyncGenerator<T, void> {
      for await (const element of checkIterable(make(epoch))) {
        if (overdue()) await breathe()
        yield element
      }
    }),
  )
}

function checkIterable<I>(made: I): I {
  const { [Symbol.asyncIterator]: later, [Symbol.iterator]: now } = Object(made)
  if (typeof (later ?? now) === 'function') return made
  throw new AnnealError(
    'ERR_VALUE',
    `fromGenerator: expected the function to give an array, a generator or a stream, got ${describe(made)}`,
  )
}

function readColumns(columns: Columns, where: string): unknown {
  if (isTensorLike(columns)) {
    const { shape, dtype } = columns
    return toNdArray({ data: columns.dataSync(), shape: [...shape], dtype: hostDType(dtype) }, where)
  }
  if (isText(columns)) return columns
  if (isPlainObject(columns) && !('data' in columns && 'shape' in columns)) {
    return Object.fromEntries(
      Object.entries(columns).map(([key, column]) => [key, readColumns(column, `${where}.${key}`)]),
    )
  }
  return toNdArray(columns, where)
}

function countRows(columns: unknown, name: string): { name: string; rows: number }[] {
  if (Array.isArray(columns)) return [{ name, rows: columns.length }]
  const { shape } = columns as NdArray
  if (!Array.isArray(shape))
    return Object.entries(columns as object).flatMap(([key, c]) => countRows(c, `${name}.${key}`))
  if (shape.length > 0) return [{ name, rows: shape[0]! }]
  throw new AnnealError('ERR_SHAPE', `fromArrays: ${name} is a single value without axes; expected one row per element`)
}

function isTensorLike(value: unknown): value is TensorLike {
  return typeof (value as TensorLike | null)?.dataSync === 'function'
}

function isText(value: unknown): value is readonly string[] {
  if (!Array.isArray(value) || typeof value[0] !== 'string') return false
  const bad = value.findIndex(item => typeof item !== 'string')
  if (bad < 0) return true
  throw new AnnealError(
    'ERR_DTYPE',
    `fromArrays: expected text in every row, got ${describe(value[bad])} in row ${bad}`,
  )
}

/** float16 and bfloat16 values come out of a tensor as float32. */
function hostDType(dtype: DType): ArrayDType {
  return isArrayDType(dtype) ? dtype : 'float32'
}
