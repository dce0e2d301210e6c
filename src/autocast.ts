import { AnnealError } from './errors'
import { withMode } from './mode'

/** The dtypes of 16 bits that products may be computed in. */
export type LowDType = 'bfloat16' | 'float16'

/** Options of {@link autocast}. */
export interface AutocastOptions {
  /** What matrix products, convolutions, attention and recurrent layers compute in. Default: bfloat16. */
  dtype?: LowDType
}

/**
 * Runs `fn`, and what it awaits, in mixed precision (Micikevicius et al., 2018): products take their float32 inputs as 16
 * bits and give 16 bits, sums, norms, softmax and losses take 16-bit inputs as float32, and the rest goes by what it gets.
 * Parameters stay float32, and so do their gradients and updates. Call `backward()` inside or outside alike.
 * @throws ERR_DTYPE for a dtype of other than 16 bits.
 */
export function autocast<R>(fn: () => R, { dtype = 'bfloat16' }: AutocastOptions = {}): R {
  if (dtype !== 'bfloat16' && dtype !== 'float16') {
    throw new AnnealError('ERR_DTYPE', `autocast: expected bfloat16 or float16; got ${String(dtype)}`)
  }
  return withMode({ autocast: dtype }, fn)
}
