import { refuseWhileCapturing } from './capturing'
import { nonzeroAt } from './internal.generated'
import { concat, cumsum, ones, onesLike, scatter, scatterAdd, sort, zeros, zerosLike } from './ops.generated'
import type { Tensor } from './tensor'

/** What {@link unique} finds. */
export interface Unique {
  /** The different values in ascending order, [count]. */
  values: Tensor
  /** For each element of the tensor, in its shape, the index of its value: int64. */
  inverse: Tensor
  /** How often each value occurs: int64, [count]. */
  counts: Tensor
}

/**
 * The different values among all elements of `x`, where each element's value stands, and how often each occurs. NaN differs
 * from itself, so each NaN is a value of its own; they come last. Waits to know how many values there are. The gradient of a
 * value goes to its first element.
 */
export function unique(x: Tensor): Promise<Unique> {
  refuseWhileCapturing('unique()')
  return uniqueOf(x)
}

async function uniqueOf(x: Tensor): Promise<Unique> {
  const [sorted, places] = sort(x.reshape([x.size]), { axis: 0 })
  const later = Math.max(x.size - 1, 0)
  const differs = sorted.narrow(0, x.size - later, later).notEqual(sorted.narrow(0, 0, later))
  const starts = concat([ones([x.size - later], { dtype: 'bool' }), differs], { axis: 0 })
  const group = cumsum(starts, 0).sub(1)
  const count = await starts.sum().item()
  return {
    values: sorted.take(nonzeroAt(starts, count, { flat: true })),
    inverse: scatter(zerosLike(group), places, group, 0).reshape(x.shape),
    counts: scatterAdd(zeros([count], { dtype: 'int64' }), group, onesLike(group), 0),
  }
}
