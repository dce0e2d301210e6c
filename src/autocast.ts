import { AnnealError } from './errors'
import { withMode } from './mode'

/** The dtypes of 16 bits that products may be computed in. */
export type LowDType = 'bfloat16' | 'float16'

/** Options of {@link autocast}. */
export interface AutocastOptions {
  /** What matrix products, convolutions, attention and recurrent layers compute in. Default: bfloat16. */
  dtype?: LowDType
  /**
   * Computes the products of linear layers in 8 bits, on GPUs of compute capability 8.9 or later (Ada, Hopper): see
   * {@link autocast}. The dtype is bfloat16 then. Default: false.
   */
  fp8?: boolean
}

/**
 * Runs `fn`, and what it awaits, in mixed precision (Micikevicius et al., 2018): products take their float32 inputs as 16
 * bits and give 16 bits, sums, layer and RMS norms, softmax and losses take 16-bit inputs as float32, and the rest goes by what
 * it gets: batch, group and instance norms read and write the 16 bits of the convolutions before them, with statistics and
 * parameters of float32. Parameters stay float32, and so do their gradients and updates. Call `backward()` inside or outside
 * alike.
 *
 * With `fp8` the inputs and weights of linear layers are rounded to the 8-bit floats e4m3 (Micikevicius et al., "FP8 Formats
 * for Deep Learning", 2022), each tensor scaled so that its largest element becomes 448, the largest of them; sums and results
 * stay wider, and gradients are computed in bfloat16. The CPU computes the same, for tests, at no gain.
 * @throws ERR_DTYPE for a dtype of other than 16 bits, and for `fp8` with another than bfloat16. A GPU that cannot compute in 8
 * bits rejects with ERR_DEVICE when results are awaited.
 */
export function autocast<R>(fn: () => R, { dtype = 'bfloat16', fp8 = false }: AutocastOptions = {}): R {
  if (dtype !== 'bfloat16' && dtype !== 'float16') {
    throw new AnnealError('ERR_DTYPE', `autocast: expected bfloat16 or float16; got ${String(dtype)}`)
  }
  if (fp8 && dtype !== 'bfloat16') {
    throw new AnnealError('ERR_DTYPE', `autocast: fp8 goes with bfloat16 for all other products; got ${dtype}`)
  }
  return withMode({ autocast: fp8 ? 'float8' : dtype }, fn)
}
