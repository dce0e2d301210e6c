import { AnnealError } from '../errors'
import { resize } from '../ops.generated'
import { sizeOf } from '../shape'
import type { Tensor } from '../tensor'
import { oneOf, sizes, within } from './check'
import type { Sizes } from './conv'
import { Layer } from './layer'
import type { ForwardShapes } from './module'

export interface UpsampleOptions {
  /** The spatial size of the result; either this or `scale`. */
  size?: Sizes
  /** The factor from the input's spatial size to the result's; either this or `size`. */
  scale?: Sizes
  /** Takes the nearest element, or interpolates between neighbours along one, two or three axes. Default: 'nearest'. */
  mode?: 'nearest' | 'linear' | 'bilinear' | 'trilinear'
  /** Whether first and last elements of input and result lie at the same places; for interpolation. Default: false. */
  alignCorners?: boolean
}

/** Resizes the spatial axes of [N, spatial ..., C]. */
export class Upsample extends Layer {
  constructor(readonly options: UpsampleOptions) {
    super(options)
    const { size, scale, mode = 'nearest' } = options ?? {}
    oneOf(this.label, 'mode', mode, ['nearest', 'linear', 'bilinear', 'trilinear'])
    if ((size === undefined) === (scale === undefined)) {
      throw new AnnealError('ERR_VALUE', `${this.label}: expected either size or scale`)
    }
    if (Array.isArray(size)) sizes(this.label, 'size', size, size.length)
    for (const factor of [scale ?? 1].flat()) within(this.label, 'scale', factor, Number.MIN_VALUE, Number.MAX_VALUE)
  }

  forward(x: Tensor): Tensor {
    return resize(x, this.options)
  }

  override flops({ output }: ForwardShapes): number {
    const neighbours = { nearest: 1, linear: 2, bilinear: 4, trilinear: 8 }[this.options.mode ?? 'nearest']
    return neighbours === 1 ? 0 : 2 * neighbours * sizeOf(output)
  }
}
