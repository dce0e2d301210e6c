import { stack, type Tensor } from 'anneal'

/** The same values with the axes stored in reverse order; itself below two axes. */
export function permuted(x: Tensor): Tensor {
  if (x.ndim < 2) return x
  const reversed = x.shape.map((_, i) => x.ndim - 1 - i)
  return x.permute(reversed).contiguous().permute(reversed)
}

/** The same values as every second element, from the second on, of a tensor twice as large along its last axis. */
export function strided(x: Tensor): Tensor {
  if (x.ndim === 0 || x.size === 0) return x
  const axis = x.ndim - 1
  const spread = stack([x, x], { axis: x.ndim }).reshape([...x.shape.slice(0, axis), -1])
  return spread.slice([1], [2 * x.shape[axis]!], { steps: [2], axes: [axis] })
}
