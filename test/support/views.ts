import type { Tensor } from 'anneal'

/** The same values with the axes stored in reverse order; itself below two axes. */
export function permuted(x: Tensor): Tensor {
  if (x.ndim < 2) return x
  const reversed = x.shape.map((_, i) => x.ndim - 1 - i)
  return x.permute(reversed).contiguous().permute(reversed)
}
