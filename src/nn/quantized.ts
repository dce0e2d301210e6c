import { AnnealError } from '../errors'
import { full, quantizedConv1d, quantizedConv2d, quantizedConv3d, quantizedLinear } from '../ops.generated'
import { sizeOf } from '../shape'
import { Buffer, type Tensor } from '../tensor'
import { lastAxis, whole } from './check'
import { Conv, type ConvAttributes, type ConvOptions, type Sizes } from './conv'
import { Layer } from './layer'
import type { ForwardShapes, Module } from './module'
import { filledBuffer } from './parameters'

const convolutions = [quantizedConv1d, quantizedConv2d, quantizedConv3d] as const

/** Throws ERR_STATE for a quantised layer in training mode. */
export function inferenceOnly(module: Module): void {
  if (!module.training) return
  throw new AnnealError(
    'ERR_STATE',
    `${module.constructor.name}: int8 weights cannot be trained; train the model in float, then quantize() it. For inference call eval()`,
  )
}

/** An int8 weight of zeros, which has its values assigned. */
export function emptyWeight(shape: readonly number[]): Buffer {
  return new Buffer(full(shape, 0, { dtype: 'int8' }))
}

/**
 * A {@link Linear} whose weight is int8, each output with a scale of its own: weight[o] stands for scale[o] * weight[o]. Every
 * row of the input is quantised to 7 bits by its own range; sums of products are exact. For inference only; made by
 * {@link quantize}.
 */
export class QuantizedLinear extends Layer {
  readonly weight: Buffer
  readonly scale: Buffer
  readonly bias: Buffer | undefined

  constructor(
    readonly inputs: number,
    readonly outputs: number,
    options: { bias?: boolean } = {},
  ) {
    super(inputs, outputs, options)
    whole(this.label, 'inputs', inputs)
    whole(this.label, 'outputs', outputs)
    this.weight = emptyWeight([outputs, inputs])
    this.scale = filledBuffer([outputs], 1)
    this.bias = (options.bias ?? true) ? filledBuffer([outputs], 0) : undefined
    this.training = false
  }

  forward(x: Tensor): Tensor {
    inferenceOnly(this)
    lastAxis(this.label, x, this.inputs)
    return quantizedLinear(x, this.weight, this.scale, this.bias)
  }

  override flops({ output }: ForwardShapes): number {
    return sizeOf(output) * (2 * this.inputs + (this.bias ? 1 : 0))
  }
}

/** A convolution whose weight is int8, each output channel with a scale of its own; every image is quantised by its own range. */
abstract class QuantizedConv extends Conv {
  declare readonly weight: Buffer
  declare readonly bias: Buffer | undefined
  readonly scale: Buffer

  constructor(rank: number, inChannels: number, outChannels: number, kernel: Sizes, options: ConvOptions) {
    super(rank, inChannels, outChannels, kernel, options)
    this.scale = filledBuffer([outChannels], 1)
    this.training = false
  }

  protected override initial(shape: readonly number[], _fanIn: number, bias: boolean): [Buffer, Buffer | undefined] {
    return [emptyWeight(shape), bias ? filledBuffer([this.outChannels], 0) : undefined]
  }

  protected override convolve(x: Tensor, attributes: ConvAttributes): Tensor {
    inferenceOnly(this)
    return convolutions[this.rank - 1]!(x, this.weight, this.scale, this.bias, attributes)
  }
}

/** A {@link Conv1d} with an int8 weight; see {@link quantize}. */
export class QuantizedConv1d extends QuantizedConv {
  static readonly pytorch = { weight: [0, 2, 1] }
  constructor(inChannels: number, outChannels: number, kernel: Sizes, options: ConvOptions = {}) {
    super(1, inChannels, outChannels, kernel, options)
  }
}

/** A {@link Conv2d} with an int8 weight; see {@link quantize}. */
export class QuantizedConv2d extends QuantizedConv {
  static readonly pytorch = { weight: [0, 3, 1, 2] }
  constructor(inChannels: number, outChannels: number, kernel: Sizes, options: ConvOptions = {}) {
    super(2, inChannels, outChannels, kernel, options)
  }
}

/** A {@link Conv3d} with an int8 weight; see {@link quantize}. */
export class QuantizedConv3d extends QuantizedConv {
  static readonly pytorch = { weight: [0, 4, 1, 2, 3] }
  constructor(inChannels: number, outChannels: number, kernel: Sizes, options: ConvOptions = {}) {
    super(3, inChannels, outChannels, kernel, options)
  }
}
