// Loops, since methods with functions take several times as long, and columns may be long.

/** The values of a column that are not NaN, in an array of their own. */
export function present(column: Float64Array): Float64Array {
  const values = new Float64Array(column.length)
  let count = 0
  for (const value of column) if (!Number.isNaN(value)) values[count++] = value
  return values.subarray(0, count)
}

/** Mean and population variance in two passes, which stays exact where the mean is large against the spread. */
export function meanAndVariance(values: Float64Array): { mean: number; variance: number } {
  let sum = 0
  for (const value of values) sum += value
  const mean = sum / values.length
  let squares = 0
  let rest = 0
  for (const value of values) {
    squares += (value - mean) ** 2
    rest += value - mean
  }
  return { mean, variance: (squares - rest ** 2 / values.length) / values.length }
}

/** The `q`-th quantile, q in [0, 1], of sorted values, with linear interpolation (Hyndman and Fan's type 7). */
export function quantile(sorted: Float64Array, q: number): number {
  const place = (sorted.length - 1) * q
  const low = Math.floor(place)
  const below = sorted[low]!
  const above = sorted[Math.min(low + 1, sorted.length - 1)]!
  return below + (above - below) * (place - low)
}
