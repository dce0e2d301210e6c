import { isPlainObject } from '../objects'
import { gatherRows, rowOf, stack } from './collate'
import type { NdArray } from './ndarray'

/** Random access to elements. */
export interface Source<T> {
  readonly length: number
  /** Begins reading; whoever opens a reader closes it. */
  open(): Reader<T> | Promise<Reader<T>>
  /** Element `index` by itself. */
  at(index: number): T | Promise<T>
}

export interface Reader<T> {
  read(indices: readonly number[]): readonly T[] | Promise<readonly T[]>
  /** The elements stacked, as `stack(read(indices))` would give them. */
  gather(indices: readonly number[]): unknown
  close?(): Promise<void>
}

/** Elements that a function makes of their index. */
export class RowSource<T> implements Source<T>, Reader<T> {
  constructor(
    readonly length: number,
    readonly at: (index: number) => T,
  ) {}

  open(): this {
    return this
  }

  read(indices: readonly number[]): T[] {
    return indices.map(index => this.at(index))
  }

  gather(indices: readonly number[]): unknown {
    return stack(this.read(indices))
  }
}

/** Columns in tuples and records, whose first axis counts the elements; rows are copied out. */
export class ColumnSource<T> implements Source<T>, Reader<T> {
  constructor(
    private readonly columns: unknown,
    readonly length: number,
  ) {}

  open(): this {
    return this
  }

  at(index: number): T {
    return mapColumns(this.columns, column => (isText(column) ? column[index] : rowOf(column, index))) as T
  }

  read(indices: readonly number[]): T[] {
    return indices.map(index => this.at(index))
  }

  gather(indices: readonly number[]): unknown {
    return mapColumns(this.columns, column => {
      return isText(column) ? indices.map(index => column[index]) : gatherRows(column, indices)
    })
  }
}

/** A tuple of columns; a plain array within columns would be a column of text. */
export class Tuple {
  constructor(readonly members: readonly unknown[]) {}
}

type ColumnData = NdArray | readonly unknown[]

function isText(column: ColumnData): column is readonly unknown[] {
  return Array.isArray(column)
}

function mapColumns(columns: unknown, fn: (column: ColumnData) => unknown): unknown {
  if (columns instanceof Tuple) return columns.members.map(member => mapColumns(member, fn))
  if (!isPlainObject(columns)) return fn(columns as ColumnData)
  if (ArrayBuffer.isView(columns.data)) return fn(columns as unknown as NdArray)
  return Object.fromEntries(Object.entries(columns).map(([key, column]) => [key, mapColumns(column, fn)]))
}
