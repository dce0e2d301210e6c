import type { Tensor } from '../tensor'

/** A penalty on weights: `l1` times the sum of their absolute values plus `l2` times the sum of their squares. */
export interface Regularizer {
  readonly l1?: number
  readonly l2?: number
}

/** The penalty `lambda` · Σ|w|, which makes weights sparse (Tibshirani, 1996). */
export function l1(lambda: number): Regularizer {
  return { l1: lambda }
}

/** The penalty `lambda` · Σw² (Hoerl and Kennard, 1970). */
export function l2(lambda: number): Regularizer {
  return { l2: lambda }
}

/** Both penalties together, the elastic net (Zou and Hastie, 2005). */
export function l1l2(options: { l1: number; l2: number }): Regularizer {
  return { l1: options.l1, l2: options.l2 }
}

/** The penalties of `regularizer` on `weight`, each a scalar. */
export function penalties({ l1, l2 }: Regularizer, weight: Tensor): Tensor[] {
  return [...(l1 ? [weight.abs().sum().mul(l1)] : []), ...(l2 ? [weight.mul(weight).sum().mul(l2)] : [])]
}
