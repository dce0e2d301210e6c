import {
  adaptiveAveragePool1d,
  adaptiveAveragePool2d,
  adaptiveAveragePool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
  averagePool1d,
  averagePool2d,
  averagePool3d,
  globalAveragePool,
  globalMaxPool,
  maxPool1d,
  maxPool2d,
  maxPool3d,
} from '../ops.generated'
import { sizeOf } from '../shape'
import type { Tensor } from '../tensor'
import { sizes, spatialInput } from './check'
import type { Sizes } from './conv'
import { Layer } from './layer'
import type { ForwardShapes } from './module'

interface WindowOptions {
  /** The step of the window. Default: the window's size, so that windows touch. */
  stride?: Sizes
  /** Margins at both ends of every spatial axis, at most half of the window. Default: 0. */
  padding?: Sizes
  /** Whether a last window that reaches over the end counts. Default: false. */
  ceilMode?: boolean
}

export interface MaxPoolOptions extends WindowOptions {
  /** The distance between a window's elements. Default: 1. */
  dilation?: Sizes
}

export interface AvgPoolOptions extends WindowOptions {
  /** Whether the zeros of margins count in means. Default: true. */
  countIncludePad?: boolean
}

const maxPools = [maxPool1d, maxPool2d, maxPool3d] as const
const averagePools = [averagePool1d, averagePool2d, averagePool3d] as const
const adaptiveAverages = [adaptiveAveragePool1d, adaptiveAveragePool2d, adaptiveAveragePool3d] as const
const adaptiveMaxima = [adaptiveMaxPool1d, adaptiveMaxPool2d, adaptiveMaxPool3d] as const

/** Windows over the spatial axes of [N, spatial ..., C]. */
abstract class Pool<Options extends MaxPoolOptions & AvgPoolOptions> extends Layer {
  protected readonly window: {
    readonly kernel: number[]
    readonly stride: number[]
    readonly padding: number[]
    readonly ceilMode: boolean
  }

  constructor(
    protected readonly rank: number,
    kernel: Sizes,
    protected readonly options: Options,
  ) {
    super(kernel, options)
    this.window = {
      kernel: sizes(this.label, 'kernel', kernel, rank),
      stride: sizes(this.label, 'stride', options.stride ?? kernel, rank),
      padding: sizes(this.label, 'padding', options.padding ?? 0, rank, 0),
      ceilMode: options.ceilMode ?? false,
    }
  }

  override flops({ output }: ForwardShapes): number {
    return sizeOf(output) * sizeOf(this.window.kernel)
  }
}

abstract class MaxPool extends Pool<MaxPoolOptions> {
  readonly #dilation: number[]

  constructor(rank: number, kernel: Sizes, options: MaxPoolOptions) {
    super(rank, kernel, options)
    this.#dilation = sizes(this.label, 'dilation', options.dilation ?? 1, rank)
  }

  forward(x: Tensor): Tensor {
    spatialInput(this.label, x, this.rank)
    const { kernel, ...options } = this.window
    return maxPools[this.rank - 1]!(x, kernel, { ...options, dilation: this.#dilation })
  }
}

abstract class AvgPool extends Pool<AvgPoolOptions> {
  forward(x: Tensor): Tensor {
    spatialInput(this.label, x, this.rank)
    const { kernel, ...options } = this.window
    return averagePools[this.rank - 1]!(x, kernel, {
      ...options,
      countIncludePad: this.options.countIncludePad ?? true,
    })
  }
}

/** Pools to a given size, whatever the input's size. */
abstract class AdaptivePool extends Layer {
  protected readonly target: number[]

  constructor(
    protected readonly rank: number,
    size: Sizes,
  ) {
    super(size)
    this.target = sizes(this.label, 'size', size, rank)
  }

  override flops({ inputs }: ForwardShapes): number {
    return sizeOf(inputs[0]!)
  }
}

abstract class AdaptiveAvgPool extends AdaptivePool {
  forward(x: Tensor): Tensor {
    spatialInput(this.label, x, this.rank)
    return adaptiveAverages[this.rank - 1]!(x, this.target)
  }
}

abstract class AdaptiveMaxPool extends AdaptivePool {
  forward(x: Tensor): Tensor {
    spatialInput(this.label, x, this.rank)
    return adaptiveMaxima[this.rank - 1]!(x, this.target)
  }
}

/** The largest element of each window of [N, L, C]. */
export class MaxPool1d extends MaxPool {
  constructor(kernel: Sizes, options: MaxPoolOptions = {}) {
    super(1, kernel, options)
  }
}

/** The largest element of each window of images [N, H, W, C]. */
export class MaxPool2d extends MaxPool {
  constructor(kernel: Sizes, options: MaxPoolOptions = {}) {
    super(2, kernel, options)
  }
}

/** The largest element of each window of volumes [N, D, H, W, C]. */
export class MaxPool3d extends MaxPool {
  constructor(kernel: Sizes, options: MaxPoolOptions = {}) {
    super(3, kernel, options)
  }
}

/** The mean of each window of [N, L, C]. */
export class AvgPool1d extends AvgPool {
  constructor(kernel: Sizes, options: AvgPoolOptions = {}) {
    super(1, kernel, options)
  }
}

/** The mean of each window of images [N, H, W, C]. */
export class AvgPool2d extends AvgPool {
  constructor(kernel: Sizes, options: AvgPoolOptions = {}) {
    super(2, kernel, options)
  }
}

/** The mean of each window of volumes [N, D, H, W, C]. */
export class AvgPool3d extends AvgPool {
  constructor(kernel: Sizes, options: AvgPoolOptions = {}) {
    super(3, kernel, options)
  }
}

/** Means of [N, L, C] over windows that give spatial axes of the sizes `size`. */
export class AdaptiveAvgPool1d extends AdaptiveAvgPool {
  constructor(size: Sizes) {
    super(1, size)
  }
}

/** Means of images [N, H, W, C] over windows that give spatial axes of the sizes `size`. */
export class AdaptiveAvgPool2d extends AdaptiveAvgPool {
  constructor(size: Sizes) {
    super(2, size)
  }
}

/** Means of volumes [N, D, H, W, C] over windows that give spatial axes of the sizes `size`. */
export class AdaptiveAvgPool3d extends AdaptiveAvgPool {
  constructor(size: Sizes) {
    super(3, size)
  }
}

/** Largest elements of [N, L, C] over windows that give spatial axes of the sizes `size`. */
export class AdaptiveMaxPool1d extends AdaptiveMaxPool {
  constructor(size: Sizes) {
    super(1, size)
  }
}

/** Largest elements of images [N, H, W, C] over windows that give spatial axes of the sizes `size`. */
export class AdaptiveMaxPool2d extends AdaptiveMaxPool {
  constructor(size: Sizes) {
    super(2, size)
  }
}

/** Largest elements of volumes [N, D, H, W, C] over windows that give spatial axes of the sizes `size`. */
export class AdaptiveMaxPool3d extends AdaptiveMaxPool {
  constructor(size: Sizes) {
    super(3, size)
  }
}

export interface GlobalPoolOptions {
  /** Whether the spatial axes stay, with size 1. Default: false. */
  keepDims?: boolean
}

/** The mean over all spatial axes: [N, spatial ..., C] to [N, C]. */
export class GlobalAvgPool extends Layer {
  constructor(readonly options: GlobalPoolOptions = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return globalAveragePool(x, this.options)
  }
  override flops({ inputs }: ForwardShapes): number {
    return sizeOf(inputs[0]!)
  }
}

/** The largest element over all spatial axes: [N, spatial ..., C] to [N, C]. */
export class GlobalMaxPool extends Layer {
  constructor(readonly options: GlobalPoolOptions = {}) {
    super(options)
  }
  forward(x: Tensor): Tensor {
    return globalMaxPool(x, this.options)
  }
  override flops({ inputs }: ForwardShapes): number {
    return sizeOf(inputs[0]!)
  }
}
