/** The number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1)
}
