import { AnnealError } from '../../errors'
import { checkNdArray, describe, isNdArray, isTypedArray, type NdArray, type TypedArray } from '../ndarray'

/** A cell of a table; null and undefined, like NaN, are missing values. */
export type Value = number | string | boolean | bigint | null | undefined
/** The cells of one column: numbers with NaN where they are missing, or anything else. */
export type ValueColumn = Float64Array | readonly Value[]
/** Rows of cells, or a matrix `{ data, shape: [rows, columns] }`. */
export type MatrixInput = readonly (readonly Value[] | TypedArray)[] | NdArray

/**
 * The columns of a matrix. Throws `ERR_SHAPE` for input that is not two-dimensional or is ragged, `ERR_VALUE` for no
 * rows.
 */
export function toColumns(input: MatrixInput, where: string): ValueColumn[] {
  const columns = isNdArray(input) ? matrixColumns(input, where) : rowColumns(input, where)
  if (columns.length === 0 || columns[0]!.length === 0) {
    throw new AnnealError('ERR_VALUE', `${where}: expected at least one row and one column, got an empty input`)
  }
  return columns
}

function matrixColumns(matrix: NdArray, where: string): Float64Array[] {
  const { data, shape } = checkNdArray(matrix, where)
  const [rows, width] = shape
  if (shape.length !== 2) {
    throw new AnnealError(
      'ERR_SHAPE',
      `${where}: expected shape [rows, columns], got [${shape}]; reshape the input first`,
    )
  }
  return Array.from({ length: width! }, (_, k) => {
    const column = new Float64Array(rows!)
    for (let row = 0; row < rows!; row++) column[row] = Number(data[row * width! + k])
    return column
  })
}

function rowColumns(rows: readonly (readonly Value[] | TypedArray)[], where: string): Value[][] {
  if (!Array.isArray(rows))
    throw new AnnealError('ERR_SHAPE', `${where}: expected rows or { data, shape }, got ${describe(rows)}`)
  const width = rows[0]?.length
  rows.forEach((row, i) => {
    if (!Array.isArray(row) && !isTypedArray(row)) {
      throw new AnnealError(
        'ERR_SHAPE',
        `${where}: expected an array of cells as row ${i}, got ${describe(row)}; wrap single values: [value]`,
      )
    }
    if (row.length !== width) {
      throw new AnnealError(
        'ERR_SHAPE',
        `${where}: ragged rows: expected ${width} cells as in row 0, got ${row.length} in row ${i}`,
      )
    }
  })
  return Array.from({ length: width ?? 0 }, (_, k) => rows.map(row => row[k]))
}

/** Columns of numbers as a float32 matrix `[rows, columns]`. Throws `ERR_DTYPE` naming the first other cell. */
export function toMatrix(columns: readonly ValueColumn[], where: string): NdArray<Float32Array> {
  const rows = columns[0]?.length ?? 0
  const data = new Float32Array(rows * columns.length)
  columns.forEach((column, k) => {
    const numbers = numericColumn(column, k, where)
    for (let row = 0; row < rows; row++) data[row * columns.length + k] = numbers[row]!
  })
  return { data, shape: [rows, columns.length] }
}

export function isMissing(value: Value): boolean {
  return value === null || value === undefined || Number.isNaN(value)
}

/** A column as numbers, NaN where values are missing. Throws `ERR_DTYPE` for text, `ERR_VALUE` for infinity. */
export function numericColumn(column: ValueColumn, index: number, where: string): Float64Array {
  const numbers = column instanceof Float64Array ? column : numbersOf(column, index, where)
  for (let row = 0; row < numbers.length; row++) {
    if (Math.abs(numbers[row]!) !== Infinity) continue
    throw new AnnealError(
      'ERR_VALUE',
      `${where}: column ${index}: expected finite numbers or NaN, got ${numbers[row]} in row ${row}`,
    )
  }
  return numbers
}

function numbersOf(column: readonly Value[], index: number, where: string): Float64Array {
  const numbers = new Float64Array(column.length)
  for (let row = 0; row < column.length; row++) numbers[row] = numeric(column[row], index, row, where)
  return numbers
}

function numeric(value: Value, index: number, row: number, where: string): number {
  if (typeof value === 'number') return value
  if (isMissing(value)) return Number.NaN
  if (typeof value === 'boolean' || typeof value === 'bigint') return Number(value)
  throw new AnnealError(
    'ERR_DTYPE',
    `${where}: column ${index}: expected numbers, got ${describe(value)} in row ${row}; encode text first`,
  )
}
