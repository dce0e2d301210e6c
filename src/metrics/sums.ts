import { tensor } from '../creation'
import { AnnealError } from '../errors'
import type { Plain } from '../io/json'
import { scope } from '../lifetime'
import { stack } from '../ops.generated'
import { Buffer, type Tensor } from '../tensor'
import type { Metric } from './metric'

/** A metric that is a function of sums over all examples. The sums stay on the device until they are asked for. */
export abstract class SumMetric implements Metric {
  abstract readonly name: string
  private total: Buffer | undefined = undefined

  /** The sums over one batch, a float64 vector (or matrix) of the same shape for every batch. */
  protected abstract sums(output: Tensor, target: Tensor): Tensor
  /** The value from the sums over all batches. */
  protected abstract value(sums: readonly number[]): number

  /** The sums over two sets of batches together. */
  protected merged(total: Tensor, sums: Tensor): Tensor {
    return total.add(sums)
  }

  reset(): void {
    this.total?.dispose()
    this.total = undefined
  }

  update(output: Tensor, target: Tensor): void {
    const sums = this.sums(output, target)
    if (!this.total) this.total = new Buffer(sums)
    else this.total.assign(this.merged(this.total, sums))
  }

  async result(): Promise<number> {
    return this.total ? this.value(await this.totals()) : Number.NaN
  }

  /** The sums over all batches since the reset. */
  protected async totals(): Promise<number[]> {
    return this.total ? Array.from(await this.total.data(), Number) : []
  }

  protected get shape(): readonly number[] {
    return this.total?.shape ?? []
  }

  async state(): Promise<Plain> {
    return { sums: await this.totals(), shape: [...this.shape] }
  }

  clone(): this {
    return cloneOf(this, { total: undefined })
  }

  restore(state: Plain): void {
    const { sums, shape } = state as { sums: number[]; shape: number[] }
    this.reset()
    if (sums.length > 0) this.total = scope(() => new Buffer(tensor(Float64Array.from(sums), { shape })))
  }
}

/** A metric of the same class and settings (attributes), where `empty` are the attributes that hold batches. */
export function cloneOf<M extends Metric>(metric: M, empty: object): M {
  return Object.assign(Object.create(Object.getPrototypeOf(metric)), metric, empty)
}

/** Sums of several scalars as a vector. */
export function vector(...sums: readonly Tensor[]): Tensor {
  return stack(sums.map(s => s.cast('float64')))
}

/** Whether an output holds one logit per target, rather than one per class. */
export function isBinary(output: Tensor, target: Tensor): boolean {
  return output.size === target.size && (output.ndim < 2 || output.shape.at(-1) === 1)
}

/**
 * The true class of every example, flat, as int64: from class indices, of which those below 0 do not count, or from the
 * largest of one value per class.
 */
export function trueClasses(output: Tensor, target: Tensor): Tensor {
  if (isBinary(output, target)) return target.reshape([-1]).greater(0.5).cast('int64')
  if (target.ndim === output.ndim && target.shape.at(-1) === output.shape.at(-1))
    return target.argmax({ axis: -1 }).reshape([-1])
  if (target.size * output.shape.at(-1)! !== output.size) {
    throw new AnnealError(
      'ERR_SHAPE',
      `metric: outputs [${output.shape}] do not fit targets [${target.shape}]; expected class indices, or one value per class`,
    )
  }
  return target.reshape([-1]).cast('int64')
}

/** The predicted class of every example, flat, as int64: a positive logit, or the largest of one per class. */
export function predictedClasses(output: Tensor, target: Tensor): Tensor {
  if (isBinary(output, target)) return output.reshape([-1]).greater(0).cast('int64')
  return output.argmax({ axis: -1 }).reshape([-1])
}
