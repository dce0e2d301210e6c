import { expandDims, linear, permute, reshape } from '../ops.generated'
import { sizeOf } from '../shape'
import type { Parameter, Tensor } from '../tensor'
import { lastAxis, whole } from './check'
import { Layer, type WeightOptions } from './layer'
import type { ForwardShapes } from './module'
import { byFan } from './parameters'

export interface LinearOptions extends WeightOptions {
  /** Whether a bias is added. Default: true. */
  bias?: boolean
}

/**
 * x Wᵀ + b on the last axis: [..., inputs] to [..., outputs]. The weight is [outputs, inputs], the bias [outputs]; both begin
 * uniform within ±1/√inputs.
 */
export class Linear extends Layer {
  readonly weight: Parameter
  readonly bias: Parameter | undefined

  constructor(
    readonly inputs: number,
    readonly outputs: number,
    options: LinearOptions = {},
  ) {
    super(inputs, outputs, options)
    whole(this.label, 'inputs', inputs)
    whole(this.label, 'outputs', outputs)
    this.weight = byFan([outputs, inputs], inputs)
    this.bias = (options.bias ?? true) ? byFan([outputs], inputs) : undefined
  }

  forward(x: Tensor): Tensor {
    lastAxis(this.label, x, this.inputs)
    return linear(x, this.weight, this.bias)
  }

  override flops({ output }: ForwardShapes): number {
    return sizeOf(output) * (2 * this.inputs + (this.bias ? 1 : 0))
  }
}

/**
 * x₁ᵀ W x₂ + b for each output: [..., inputs1] and [..., inputs2] to [..., outputs]. The weight is
 * [outputs, inputs1, inputs2]; it begins uniform within ±1/√inputs1, as does the bias.
 */
export class Bilinear extends Layer {
  readonly weight: Parameter
  readonly bias: Parameter | undefined

  constructor(
    readonly inputs1: number,
    readonly inputs2: number,
    readonly outputs: number,
    options: LinearOptions = {},
  ) {
    super(inputs1, inputs2, outputs, options)
    whole(this.label, 'inputs1', inputs1)
    whole(this.label, 'inputs2', inputs2)
    whole(this.label, 'outputs', outputs)
    this.weight = byFan([outputs, inputs1, inputs2], inputs1)
    this.bias = (options.bias ?? true) ? byFan([outputs], inputs1) : undefined
  }

  forward(x1: Tensor, x2: Tensor): Tensor {
    lastAxis(this.label, x1, this.inputs1)
    lastAxis(this.label, x2, this.inputs2)
    const rows = reshape(permute(this.weight, [0, 2, 1]), [this.outputs * this.inputs2, this.inputs1])
    const halfway = reshape(linear(x1, rows), [...x1.shape.slice(0, -1), this.outputs, this.inputs2])
    const product = halfway.mul(expandDims(x2, -2)).sum({ axis: -1 })
    return this.bias ? product.add(this.bias) : product
  }

  override flops({ output }: ForwardShapes): number {
    return 2 * sizeOf(output) * (this.inputs1 * this.inputs2 + this.inputs2)
  }
}
