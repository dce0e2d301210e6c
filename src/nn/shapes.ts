import { AnnealError } from '../errors'
import { flatten, pad, reshape } from '../ops.generated'
import type { Tensor } from '../tensor'
import { needTensor, sizes, spatialInput, whole } from './check'
import { Layer } from './layer'

/** Gives its input as it is. */
export class Identity extends Layer {
  forward(x: Tensor): Tensor {
    return x
  }
}

/** Makes one axis of those from `startAxis` (default 1) to `endAxis` (default: the last). */
export class Flatten extends Layer {
  constructor(readonly options: { startAxis?: number; endAxis?: number } = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return flatten(x, { startAxis: 1, ...this.options })
  }
}

/** Gives each example the shape `shape`; one size may be -1: what remains. */
export class Reshape extends Layer {
  constructor(readonly shape: readonly number[]) {
    super(shape)
    for (const size of shape) whole(this.label, 'every size', size, -1)
  }
  forward(x: Tensor): Tensor {
    needTensor(this.label, x)
    return reshape(x, [x.shape[0] ?? 1, ...this.shape])
  }
}

/** Splits `axis` into several of the sizes `shape`. */
export class Unflatten extends Layer {
  constructor(
    readonly axis: number,
    readonly shape: readonly number[],
  ) {
    super(axis, shape)
    for (const size of shape) whole(this.label, 'every size', size, -1)
  }
  forward(x: Tensor): Tensor {
    needTensor(this.label, x)
    const axis = this.axis < 0 ? this.axis + x.ndim : this.axis
    if (!(axis >= 0 && axis < x.ndim)) {
      throw new AnnealError('ERR_SHAPE', `${this.label}: expected inputs with an axis ${this.axis}; got [${x.shape}]`)
    }
    return reshape(x, [...x.shape.slice(0, axis), ...this.shape, ...x.shape.slice(axis + 1)])
  }
}

/** One number for all ends, or [before, after] of each spatial axis in turn. */
export type Margins = number | readonly number[]

/** Adds margins to the spatial axes of [N, spatial ..., C]. */
abstract class Padding extends Layer {
  readonly #margins: number[]

  constructor(
    private readonly rank: number,
    margins: Margins,
    private readonly mode: 'constant' | 'reflect' | 'edge' | 'circular',
    private readonly value: number,
    ...options: readonly unknown[]
  ) {
    super(margins, ...options)
    this.#margins = sizes(this.label, 'margins', margins, 2 * rank, Number.MIN_SAFE_INTEGER)
  }

  forward(x: Tensor): Tensor {
    spatialInput(this.label, x, this.rank)
    return pad(x, [0, 0, ...this.#margins, 0, 0], { mode: this.mode, value: this.value })
  }
}

/** Zeros around [N, L, C]. Negative margins crop. */
export class ZeroPad1d extends Padding {
  constructor(margins: Margins) {
    super(1, margins, 'constant', 0)
  }
}

/** Zeros around images [N, H, W, C]; margins are one number or [top, bottom, left, right]. Negative ones crop. */
export class ZeroPad2d extends Padding {
  constructor(margins: Margins) {
    super(2, margins, 'constant', 0)
  }
}

/** Zeros around volumes [N, D, H, W, C]. Negative margins crop. */
export class ZeroPad3d extends Padding {
  constructor(margins: Margins) {
    super(3, margins, 'constant', 0)
  }
}

/** A value around images [N, H, W, C]; margins are one number or [top, bottom, left, right]. */
export class ConstantPad2d extends Padding {
  constructor(margins: Margins, value: number) {
    super(2, margins, 'constant', value, value)
  }
}

/** Mirrors images [N, H, W, C] at their edges, without repeating the edge. */
export class ReflectionPad2d extends Padding {
  constructor(margins: Margins) {
    super(2, margins, 'reflect', 0)
  }
}

/** Repeats the edges of images [N, H, W, C]. */
export class ReplicationPad2d extends Padding {
  constructor(margins: Margins) {
    super(2, margins, 'edge', 0)
  }
}
