/**
 * The orthonormal factor of a row-major matrix of random normal numbers, with orthonormal columns if it has more rows than
 * columns, else rows; uniformly distributed over all such matrices (Mezzadri, 2007). By Householder reflections.
 */
export function orthonormal(values: Float64Array, rows: number, columns: number): Float64Array {
  const tall = rows >= columns
  const [n, m] = tall ? [rows, columns] : [columns, rows]
  // Column j of the tall matrix lies at j * n: contiguous, whichever way the given one stands.
  const a = tall ? transposed(values, rows, columns) : values.slice()
  const signs = reflectAway(a, n, m)
  const q = accumulate(a, signs, n, m)
  return tall ? transposed(q, columns, rows) : q
}

function transposed(values: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(values.length)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = values[i * columns + j]!
  return result
}

/** Reflects the m columns of n numbers to a triangle; leaves unit normals below it, and gives the triangle's signs. */
function reflectAway(a: Float64Array, n: number, m: number): Int8Array {
  const signs = new Int8Array(m)
  for (let k = 0; k < m; k++) {
    const v = a.subarray(k * n + k, (k + 1) * n)
    const length = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0))
    const sign = v[0]! >= 0 ? 1 : -1
    signs[k] = -sign
    v[0]! += sign * length
    const norm = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0))
    if (norm > 0) for (let i = 0; i < v.length; i++) v[i]! /= norm
    for (let j = k + 1; j < m; j++) reflect(v, a.subarray(j * n + k, (j + 1) * n))
  }
  return signs
}

/** The product of the reflections on the first m unit vectors, with signs that make the triangle's diagonal positive. */
function accumulate(a: Float64Array, signs: Int8Array, n: number, m: number): Float64Array {
  const q = new Float64Array(a.length)
  for (let j = 0; j < m; j++) {
    q[j * n + j] = signs[j]!
    for (let k = j; k >= 0; k--) reflect(a.subarray(k * n + k, (k + 1) * n), q.subarray(j * n + k, (j + 1) * n))
  }
  return q
}

/** x − 2 v (v·x), in place. */
function reflect(v: Float64Array, x: Float64Array): void {
  let dot = 0
  for (let i = 0; i < v.length; i++) dot += v[i]! * x[i]!
  dot *= 2
  for (let i = 0; i < v.length; i++) x[i]! -= dot * v[i]!
}
