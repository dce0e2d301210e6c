import { AnnealError } from '../errors'
import { conv1d, conv2d, conv3d, convTranspose1d, convTranspose2d, convTranspose3d } from '../ops.generated'
import { sizeOf } from '../shape'
import type { Parameter, Tensor } from '../tensor'
import { shown, sizes, spatialInput, whole } from './check'
import { Layer, type WeightOptions } from './layer'
import type { ForwardShapes } from './module'
import { byFan } from './parameters'

/** One number for all spatial axes, or one for each. */
export type Sizes = number | readonly number[]

interface CommonOptions extends WeightOptions {
  /** The step of the kernel. Default: 1. */
  stride?: Sizes
  /** The distance between the kernel's elements. Default: 1. */
  dilation?: Sizes
  /** Groups of channels that are convolved separately; as many as input channels for a depthwise convolution. Default: 1. */
  groups?: number
  /** Whether a bias is added. Default: true. */
  bias?: boolean
}

export interface ConvOptions extends CommonOptions {
  /**
   * Zeros added at both ends of every spatial axis; 'same' pads so that the size becomes ⌈size / stride⌉, 'valid' does not pad.
   * Default: 0.
   */
  padding?: Sizes | 'same' | 'valid'
}

export interface ConvTransposeOptions extends CommonOptions {
  /** What is cut off at both ends of every spatial axis. Default: 0. */
  padding?: Sizes
  /** What is added to the size of the result at the end of every spatial axis. Default: 0. */
  outputPadding?: Sizes
}

const convolutions = [conv1d, conv2d, conv3d] as const
const transposes = [convTranspose1d, convTranspose2d, convTranspose3d] as const

/** What all convolutions share: sizes, and parameters uniform within ±1/√fanIn. */
abstract class Convolution extends Layer {
  readonly weight: Parameter
  readonly bias: Parameter | undefined
  readonly kernel: readonly number[]
  readonly groups: number
  protected readonly strides: { readonly stride: number[]; readonly dilation: number[] }

  constructor(
    protected readonly rank: number,
    readonly inChannels: number,
    readonly outChannels: number,
    kernel: Sizes,
    options: CommonOptions,
    transposed: boolean,
  ) {
    super(inChannels, outChannels, kernel, options)
    const { label } = this
    whole(label, 'inChannels', inChannels)
    whole(label, 'outChannels', outChannels)
    this.kernel = sizes(label, 'kernel', kernel, rank)
    this.groups = whole(label, 'groups', options.groups ?? 1)
    for (const channels of [inChannels, outChannels]) {
      if (channels % this.groups === 0) continue
      throw new AnnealError('ERR_VALUE', `${label}: ${channels} channels cannot be split into ${this.groups} groups`)
    }
    this.strides = {
      stride: sizes(label, 'stride', options.stride ?? 1, rank),
      dilation: sizes(label, 'dilation', options.dilation ?? 1, rank),
    }
    const [first, last] = transposed ? [inChannels, outChannels] : [outChannels, inChannels]
    const shape = [first, ...this.kernel, last / this.groups]
    const fanIn = sizeOf(shape) / first
    ;[this.weight, this.bias] = this.initial(shape, fanIn, options.bias ?? true)
  }

  /** The weight and the bias that a new layer begins with. */
  protected initial(shape: readonly number[], fanIn: number, bias: boolean): [Parameter, Parameter | undefined] {
    return [byFan(shape, fanIn), bias ? byFan([this.outChannels], fanIn) : undefined]
  }
}

/** What convolutions are called with. */
export interface ConvAttributes {
  readonly stride: number[]
  readonly dilation: number[]
  readonly groups: number
  readonly padding?: number[]
  readonly same?: boolean
}

/** Convolutions from data to data of the same or of a smaller size. */
export abstract class Conv extends Convolution {
  readonly #options: { padding: number[] } | { same: true }

  constructor(rank: number, inChannels: number, outChannels: number, kernel: Sizes, options: ConvOptions) {
    super(rank, inChannels, outChannels, kernel, options, false)
    const { padding = 0 } = options
    if (typeof padding === 'string' && padding !== 'same' && padding !== 'valid') {
      throw new AnnealError(
        'ERR_VALUE',
        `${this.label}: expected padding to be 'same', 'valid' or sizes; got ${shown(padding)}`,
      )
    }
    this.#options =
      padding === 'same'
        ? { same: true }
        : { padding: sizes(this.label, 'padding', padding === 'valid' ? 0 : padding, rank, 0) }
  }

  forward(x: Tensor): Tensor {
    spatialInput(this.label, x, this.rank, this.inChannels)
    return this.convolve(x, { ...this.strides, ...this.#options, groups: this.groups })
  }

  protected convolve(x: Tensor, attributes: ConvAttributes): Tensor {
    return convolutions[this.rank - 1]!(x, this.weight, this.bias, attributes)
  }

  override flops({ output }: ForwardShapes): number {
    const filter = this.weight.size / this.outChannels
    return sizeOf(output) * (2 * filter + (this.bias ? 1 : 0))
  }
}

/** Convolution of [N, L, in] to [N, L', out]. The weight is [out, kernel, in / groups]. */
export class Conv1d extends Conv {
  static readonly pytorch = { weight: [0, 2, 1] }
  constructor(inChannels: number, outChannels: number, kernel: Sizes, options: ConvOptions = {}) {
    super(1, inChannels, outChannels, kernel, options)
  }
}

/** Convolution of images [N, H, W, in] to [N, H', W', out]. The weight is [out, kernelHeight, kernelWidth, in / groups]. */
export class Conv2d extends Conv {
  static readonly pytorch = { weight: [0, 3, 1, 2] }
  constructor(inChannels: number, outChannels: number, kernel: Sizes, options: ConvOptions = {}) {
    super(2, inChannels, outChannels, kernel, options)
  }
}

/** Convolution of volumes [N, D, H, W, in] to [N, D', H', W', out]. The weight is [out, kernel (3 axes), in / groups]. */
export class Conv3d extends Conv {
  static readonly pytorch = { weight: [0, 4, 1, 2, 3] }
  constructor(inChannels: number, outChannels: number, kernel: Sizes, options: ConvOptions = {}) {
    super(3, inChannels, outChannels, kernel, options)
  }
}

abstract class ConvTranspose extends Convolution {
  readonly #padding: { padding: number[]; outputPadding: number[] }

  constructor(rank: number, inChannels: number, outChannels: number, kernel: Sizes, options: ConvTransposeOptions) {
    super(rank, inChannels, outChannels, kernel, options, true)
    this.#padding = {
      padding: sizes(this.label, 'padding', options.padding ?? 0, rank, 0),
      outputPadding: sizes(this.label, 'outputPadding', options.outputPadding ?? 0, rank, 0),
    }
  }

  forward(x: Tensor): Tensor {
    spatialInput(this.label, x, this.rank, this.inChannels)
    const options = { ...this.strides, ...this.#padding, groups: this.groups }
    return transposes[this.rank - 1]!(x, this.weight, this.bias, options)
  }

  override flops({ inputs, output }: ForwardShapes): number {
    const perInput = (2 * this.weight.size) / this.inChannels
    return sizeOf(inputs[0]!) * perInput + (this.bias ? sizeOf(output) : 0)
  }
}

/** Transposed convolution of [N, L, in] to [N, L', out]. The weight is [in, kernel, out / groups]. */
export class ConvTranspose1d extends ConvTranspose {
  static readonly pytorch = { weight: [0, 2, 1] }
  constructor(inChannels: number, outChannels: number, kernel: Sizes, options: ConvTransposeOptions = {}) {
    super(1, inChannels, outChannels, kernel, options)
  }
}

/** Transposed convolution of images [N, H, W, in] to [N, H', W', out]. The weight is [in, kernel (2 axes), out / groups]. */
export class ConvTranspose2d extends ConvTranspose {
  static readonly pytorch = { weight: [0, 3, 1, 2] }
  constructor(inChannels: number, outChannels: number, kernel: Sizes, options: ConvTransposeOptions = {}) {
    super(2, inChannels, outChannels, kernel, options)
  }
}

/** Transposed convolution of volumes [N, D, H, W, in] to [N, D', H', W', out]. The weight is [in, kernel (3 axes), out / groups]. */
export class ConvTranspose3d extends ConvTranspose {
  static readonly pytorch = { weight: [0, 4, 1, 2, 3] }
  constructor(inChannels: number, outChannels: number, kernel: Sizes, options: ConvTransposeOptions = {}) {
    super(3, inChannels, outChannels, kernel, options)
  }
}
