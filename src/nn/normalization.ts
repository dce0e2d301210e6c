import { noGrad } from '../autograd'
import { give } from '../call'
import { tensor } from '../creation'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { batchNorm, batchNormTrain, groupNorm, instanceNorm, layerNorm, reshape, rmsNorm } from '../ops.generated'
import { sizeOf } from '../shape'
import { Buffer, type Parameter, type Tensor } from '../tensor'
import { lastAxis, needTensor, sizes, spatialInput, whole } from './check'
import { Layer } from './layer'
import type { ForwardShapes } from './module'
import { filled, filledBuffer } from './parameters'

interface Moments {
  readonly mean: Tensor
  /** Divided by the number of elements, not by one less. */
  readonly variance: Tensor
}

/** What all normalisations have: a scale of ones and, if wanted, a shift of zeros, both trained. */
abstract class Norm extends Layer {
  readonly weight: Parameter | undefined
  readonly bias: Parameter | undefined

  protected constructor(shape: readonly number[], weight: boolean, bias: boolean, ...args: readonly unknown[]) {
    super(...args)
    for (const size of shape) whole(this.label, 'every size', size)
    this.weight = weight ? filled(shape, 1) : undefined
    this.bias = bias ? filled(shape, 0) : undefined
  }

  /** Mean, variance, standardisation, scale and shift: about eight operations for each element. */
  override flops({ output }: ForwardShapes): number {
    return 8 * sizeOf(output)
  }
}

export interface ChannelNormOptions {
  /** Added to the variance. Default: 1e-5. */
  eps?: number
  /** How fast running statistics follow, from 0 to 1; null for the mean of all batches. Default: 0.1. */
  momentum?: number | null
  /** Whether there are a trained scale and shift. Default: true for batches, false for instances. */
  affine?: boolean
  /** Whether running statistics are kept, which evaluation then uses. Default: true for batches, false for instances. */
  trackRunningStats?: boolean
}

/** Normalisation of each channel, the last axis, with running statistics for evaluation. */
abstract class ChannelNorm extends Norm {
  readonly runningMean: Buffer | undefined
  readonly runningVar: Buffer | undefined
  readonly numBatchesTracked: Buffer | undefined
  protected readonly eps: number
  readonly #momentum: number | null

  constructor(
    readonly channels: number,
    options: ChannelNormOptions,
    defaults: { affine: boolean; tracked: boolean },
  ) {
    const affine = options.affine ?? defaults.affine
    super([channels], affine, affine, channels, options)
    this.eps = options.eps ?? 1e-5
    this.#momentum = options.momentum === undefined ? 0.1 : options.momentum
    if (options.trackRunningStats ?? defaults.tracked) {
      this.runningMean = filledBuffer([channels], 0)
      this.runningVar = filledBuffer([channels], 1)
      this.numBatchesTracked = new Buffer(tensor(new BigInt64Array(1), { shape: [] }))
    }
  }

  /** Whether `numBatchesTracked` goes up; PyTorch keeps it at 0 for instances. */
  protected abstract readonly countsBatches: boolean
  /** How many values share a mean and a variance. */
  protected abstract valuesPerChannel(x: Tensor): number
  /** Normalises by moments of the batch itself, which are given back where they are wanted. */
  protected abstract normalize(x: Tensor, tracked: boolean): [result: Tensor, moments?: Moments]
  protected abstract checkInput(x: Tensor): void

  forward(x: Tensor): Tensor {
    this.checkInput(x)
    const { runningMean, runningVar, weight, bias, eps } = this
    if (!this.training && runningMean && runningVar) return batchNorm(x, runningMean, runningVar, weight, bias, { eps })
    const count = this.valuesPerChannel(x)
    if (this.training && count === 1) {
      throw new AnnealError(
        'ERR_SHAPE',
        `${this.label}: training needs more than one value for each channel; got [${x.shape}]. Use larger batches or eval()`,
      )
    }
    const [result, moments] = this.normalize(x, this.training && runningMean !== undefined)
    if (moments) this.#track(moments, count)
    return result
  }

  #track({ mean, variance }: Moments, count: number): void {
    const { runningMean, runningVar, numBatchesTracked } = this
    if (!runningMean || !runningVar || !numBatchesTracked) return
    scope(() =>
      noGrad(() => {
        if (this.countsBatches) numBatchesTracked.assign(numBatchesTracked.add(1))
        const ofAll = this.countsBatches ? numBatchesTracked.cast(runningMean.dtype).pow(-1) : 0
        const factor = this.#momentum ?? ofAll
        const follow = (running: Buffer, value: Tensor) => {
          const batch = value.dtype === running.dtype ? value : value.cast(running.dtype)
          give(running, running.add(batch.sub(running).mul(factor)))
        }
        follow(runningMean, this.#ofChannels(mean))
        follow(runningVar, this.#ofChannels(variance).mul(count / (count - 1)))
      }),
    )
  }

  /** One moment for each channel. Instances have moments of their own, of which the mean counts. */
  #ofChannels(moments: Tensor): Tensor {
    const instances = moments.size / this.channels
    if (instances === 1) return reshape(moments, [this.channels])
    return reshape(moments, [instances, this.channels]).mean({ axis: 0 })
  }
}

/** Normalises each channel over the batch (Ioffe and Szegedy, 2015). */
abstract class BatchNorm extends ChannelNorm {
  protected readonly countsBatches = true
  constructor(
    private readonly rank: number,
    channels: number,
    options: ChannelNormOptions,
  ) {
    super(channels, options, { affine: true, tracked: true })
  }
  protected valuesPerChannel(x: Tensor): number {
    return x.size / this.channels
  }
  protected normalize(x: Tensor): [Tensor, Moments] {
    const [result, mean, variance] = batchNormTrain(x, this.weight, this.bias, { eps: this.eps })
    return [result, { mean, variance }]
  }
  protected checkInput(x: Tensor): void {
    needTensor(this.label, x)
    if (this.rank === 1 && x.ndim === 2) lastAxis(this.label, x, this.channels)
    else spatialInput(this.label, x, this.rank, this.channels)
  }
}

/** Normalises each channel of [N, C] or [N, L, C] over the batch; running statistics serve for evaluation. */
export class BatchNorm1d extends BatchNorm {
  constructor(channels: number, options: ChannelNormOptions = {}) {
    super(1, channels, options)
  }
}

/** Normalises each channel of images [N, H, W, C] over the batch; running statistics serve for evaluation. */
export class BatchNorm2d extends BatchNorm {
  constructor(channels: number, options: ChannelNormOptions = {}) {
    super(2, channels, options)
  }
}

/** Normalises each channel of volumes [N, D, H, W, C] over the batch; running statistics serve for evaluation. */
export class BatchNorm3d extends BatchNorm {
  constructor(channels: number, options: ChannelNormOptions = {}) {
    super(3, channels, options)
  }
}

/** Normalises each channel of each example (Ulyanov et al., 2016). */
abstract class InstanceNorm extends ChannelNorm {
  protected readonly countsBatches = false
  constructor(
    private readonly rank: number,
    channels: number,
    options: ChannelNormOptions,
  ) {
    super(channels, options, { affine: false, tracked: false })
  }
  protected valuesPerChannel(x: Tensor): number {
    return sizeOf(x.shape.slice(1, -1))
  }
  protected normalize(x: Tensor, tracked: boolean): [Tensor, Moments?] {
    const result = instanceNorm(x, this.weight, this.bias, { eps: this.eps })
    if (!tracked) return [result]
    const axis = Array.from({ length: this.rank }, (_, i) => i + 1)
    return [result, { mean: x.mean({ axis }), variance: x.var({ axis, correction: 0 }) }]
  }
  protected checkInput(x: Tensor): void {
    spatialInput(this.label, x, this.rank, this.channels)
  }
}

/** Normalises each channel of each example of [N, L, C]. */
export class InstanceNorm1d extends InstanceNorm {
  constructor(channels: number, options: ChannelNormOptions = {}) {
    super(1, channels, options)
  }
}

/** Normalises each channel of each image of [N, H, W, C]. */
export class InstanceNorm2d extends InstanceNorm {
  constructor(channels: number, options: ChannelNormOptions = {}) {
    super(2, channels, options)
  }
}

/** Normalises each channel of each volume of [N, D, H, W, C]. */
export class InstanceNorm3d extends InstanceNorm {
  constructor(channels: number, options: ChannelNormOptions = {}) {
    super(3, channels, options)
  }
}

export interface LayerNormOptions {
  /** Added to the variance. Default: 1e-5. */
  eps?: number
  /** Whether there is a trained scale. Default: true. */
  affine?: boolean
  /** Whether there is a trained shift, beside the scale. Default: true. */
  bias?: boolean
}

/** Throws ERR_SHAPE unless the last axes of `x` have the sizes `shape`. */
function checkLastAxes(layer: string, x: Tensor, shape: readonly number[]): void {
  needTensor(layer, x)
  if (x.shape.slice(-shape.length).join() === shape.join()) return
  throw new AnnealError('ERR_SHAPE', `${layer}: expected inputs with the last axes [${shape}]; got [${x.shape}]`)
}

function shapeOf(layer: string, size: number | readonly number[]): number[] {
  return sizes(layer, 'size', size, Array.isArray(size) ? size.length : 1)
}

/** Normalises over the last axes, whose sizes are given (Ba et al., 2016). */
export class LayerNorm extends Norm {
  readonly #shape: number[]
  readonly #eps: number

  constructor(size: number | readonly number[], options: LayerNormOptions = {}) {
    const { affine = true, bias = true } = options
    super(shapeOf('LayerNorm', size), affine, affine && bias, size, options)
    this.#shape = shapeOf(this.label, size)
    this.#eps = options.eps ?? 1e-5
  }

  forward(x: Tensor): Tensor {
    checkLastAxes(this.label, x, this.#shape)
    return layerNorm(x, this.weight, this.bias, { axes: this.#shape.length, eps: this.#eps })
  }
}

/** Divides by the root of the mean square over the last axes, whose sizes are given (Zhang and Sennrich, 2019). */
export class RMSNorm extends Norm {
  readonly #shape: number[]
  readonly #eps: number

  /** @param options.eps Added to the mean square. Default: 2⁻²³, the spacing of float32 at 1. */
  constructor(size: number | readonly number[], options: { eps?: number; affine?: boolean } = {}) {
    super(shapeOf('RMSNorm', size), options.affine ?? true, false, size, options)
    this.#shape = shapeOf(this.label, size)
    this.#eps = options.eps ?? 2 ** -23
  }

  forward(x: Tensor): Tensor {
    checkLastAxes(this.label, x, this.#shape)
    return rmsNorm(x, this.weight, { axes: this.#shape.length, eps: this.#eps })
  }
}

/** Normalises groups of channels, the last axis, of each example (Wu and He, 2018). */
export class GroupNorm extends Norm {
  readonly #eps: number

  constructor(
    readonly groups: number,
    readonly channels: number,
    options: { eps?: number; affine?: boolean } = {},
  ) {
    const affine = options.affine ?? true
    super([channels], affine, affine, groups, channels, options)
    if (channels % whole(this.label, 'groups', groups) !== 0) {
      throw new AnnealError(
        'ERR_VALUE',
        `${this.label}: expected channels to be a multiple of groups; got ${channels} and ${groups}`,
      )
    }
    this.#eps = options.eps ?? 1e-5
  }

  forward(x: Tensor): Tensor {
    lastAxis(this.label, x, this.channels)
    return groupNorm(x, this.groups, this.weight, this.bias, { eps: this.#eps })
  }
}
