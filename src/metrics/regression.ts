import { AnnealError } from '../errors'
import { crossEntropy } from '../losses'
import type { Tensor } from '../tensor'
import { SumMetric, vector } from './sums'

/** Outputs and targets as float64 vectors of as many elements. */
function flat(output: Tensor, target: Tensor): [Tensor, Tensor] {
  if (output.size !== target.size) {
    throw new AnnealError(
      'ERR_SHAPE',
      `metric: outputs [${output.shape}] and targets [${target.shape}] differ in their number of values`,
    )
  }
  return [output.reshape([-1]).cast('float64'), target.reshape([-1]).cast('float64')]
}

/** The mean of a function of each error, and what comes of it. */
abstract class ErrorMetric extends SumMetric {
  protected abstract ofError(error: Tensor): Tensor

  protected sums(output: Tensor, target: Tensor): Tensor {
    const [y, t] = flat(output, target)
    return vector(this.ofError(y.sub(t)).sum(), t.onesLike().sum())
  }

  protected value([sum, count]: readonly number[]): number {
    return sum! / count!
  }
}

/** The mean absolute error. */
export class MeanAbsoluteError extends ErrorMetric {
  readonly name = 'mae'
  protected ofError(error: Tensor): Tensor {
    return error.abs()
  }
}

/** The mean squared error. */
export class MeanSquaredError extends ErrorMetric {
  readonly name: string = 'mse'
  protected ofError(error: Tensor): Tensor {
    return error.square()
  }
}

/** The root of the mean squared error. */
export class RootMeanSquaredError extends MeanSquaredError {
  override readonly name = 'rmse'
  protected override value(sums: readonly number[]): number {
    return Math.sqrt(super.value(sums))
  }
}

/**
 * The coefficient of determination, 1 - (squared errors) / (squared deviations from the mean target), over all values. Where
 * all targets are equal: 1 without errors, else 0. NaN for fewer than two values.
 */
export class R2 extends SumMetric {
  readonly name = 'r2'

  // Squared errors, count, mean and squared deviations: differences of large sums would lose what matters.
  protected sums(output: Tensor, target: Tensor): Tensor {
    const [y, t] = flat(output, target)
    const count = Math.max(t.size, 1)
    const rough = t.sum().div(count)
    const mean = rough.add(t.sub(rough).sum().div(count)) // without the rounding of the first
    return vector(y.sub(t).square().sum(), t.onesLike().sum(), mean, t.sub(mean).square().sum())
  }

  /** As Chan, Golub and LeVeque (1979) merge means and variances. */
  protected override merged(total: Tensor, sums: Tensor): Tensor {
    const [errorsA, countA, meanA, deviationsA] = unstack(total)
    const [errorsB, countB, meanB, deviationsB] = unstack(sums)
    const count = countA.add(countB)
    const part = countB.div(count.maximum(1))
    const apart = meanB.sub(meanA)
    const between = apart.square().mul(countA).mul(part)
    return vector(errorsA.add(errorsB), count, meanA.add(apart.mul(part)), deviationsA.add(deviationsB).add(between))
  }

  protected value([errors, count, _mean, deviations]: readonly number[]): number {
    if (count! < 2) return Number.NaN
    if (deviations === 0) return errors === 0 ? 1 : 0
    return 1 - errors! / deviations!
  }
}

function unstack(sums: Tensor): [Tensor, Tensor, Tensor, Tensor] {
  return [sums.index(0), sums.index(1), sums.index(2), sums.index(3)]
}

/** The exponential of the mean cross-entropy of logits [..., classes] and class indices; index -100 does not count. */
export class Perplexity extends SumMetric {
  readonly name = 'perplexity'

  protected sums(output: Tensor, target: Tensor): Tensor {
    const classes = output.shape.at(-1)!
    const truth = target.reshape([-1]).cast('int64')
    const loss = crossEntropy(output.reshape([-1, classes]), truth, { reduction: 'sum' })
    return vector(loss, truth.notEqual(-100).sum())
  }

  protected value([loss, count]: readonly number[]): number {
    return Math.exp(loss! / count!)
  }
}
