import { AnnealError } from '../errors'
import { oneOf, whole } from '../nn/check'
import { matmul, oneHot } from '../ops.generated'
import type { Tensor } from '../tensor'
import { predictedClasses, SumMetric, trueClasses, vector } from './sums'

// Class indices below 0, such as the -100 that crossEntropy ignores, count nowhere.

/** The part of examples whose class was predicted. Outputs are logits. */
export class Accuracy extends SumMetric {
  readonly name = 'accuracy'

  protected sums(output: Tensor, target: Tensor): Tensor {
    const truth = trueClasses(output, target)
    const correct = predictedClasses(output, target).equal(truth)
    return vector(correct.sum(), truth.greaterEqual(0).sum())
  }

  protected value([correct, count]: readonly number[]): number {
    return correct! / count!
  }
}

/** The part of examples whose class is among the `k` with the largest logits. */
export class TopKAccuracy extends SumMetric {
  readonly name: string

  constructor(readonly k = 5) {
    super()
    this.name = `top${whole('TopKAccuracy', 'k', k)}Accuracy`
  }

  protected sums(output: Tensor, target: Tensor): Tensor {
    const classes = output.shape.at(-1)!
    const truth = trueClasses(output, target)
    const [, indices] = output.reshape([-1, classes]).topK(Math.min(this.k, classes))
    const hits = indices.equal(truth.expandDims(1)).sum()
    return vector(hits, truth.greaterEqual(0).sum())
  }

  protected value([hits, count]: readonly number[]): number {
    return hits! / count!
  }
}

/** Counts of examples by true class (rows) and predicted class (columns). As a number: the accuracy. */
export class ConfusionMatrix extends SumMetric {
  readonly name: string = 'confusion'

  /** @param classes The number of classes. Default: that of the outputs; 2 for one logit. */
  constructor(readonly classes?: number) {
    super()
    if (classes !== undefined) whole(this.constructor.name, 'classes', classes)
  }

  protected sums(output: Tensor, target: Tensor): Tensor {
    const classes = this.classes ?? Math.max(output.ndim < 2 ? 2 : output.shape.at(-1)!, 2)
    const truth = trueClasses(output, target)
    const counts = truth.greaterEqual(0).cast('float64').expandDims(1)
    const rows = oneHot(truth.maximum(0), classes, { dtype: 'float64' }).mul(counts)
    const columns = oneHot(predictedClasses(output, target), classes, { dtype: 'float64' })
    return matmul(rows.permute([1, 0]), columns)
  }

  protected value(counts: readonly number[]): number {
    const classes = Math.sqrt(counts.length)
    const total = counts.reduce((a, b) => a + b, 0)
    return counts.filter((_, i) => i % (classes + 1) === 0).reduce((a, b) => a + b, 0) / total
  }

  /** The counts: `matrix[actual][predicted]`. */
  async matrix(): Promise<number[][]> {
    const counts = await this.totals()
    const classes = Math.sqrt(counts.length)
    return Array.from({ length: classes }, (_, i) => counts.slice(i * classes, (i + 1) * classes))
  }
}

const averages = ['binary', 'macro', 'weighted', 'micro'] as const

/** How figures per class become one: 'binary' is class 1's, 'macro' their mean, 'weighted' by examples, 'micro' from sums. */
export type Average = (typeof averages)[number]

interface Counts {
  hits: number
  predicted: number
  actual: number
}

/** A figure from the hits, predictions and examples of each class. */
abstract class PerClass extends ConfusionMatrix {
  /** @param average Default: 'binary' for two classes, else 'macro'. */
  constructor(
    readonly average?: Average,
    classes?: number,
  ) {
    super(classes)
    if (average !== undefined) oneOf(this.constructor.name, 'average', average, averages)
  }

  protected abstract figure(counts: Counts): number

  protected override value(counts: readonly number[]): number {
    const classes = Math.sqrt(counts.length)
    const average = this.average ?? (classes === 2 ? 'binary' : 'macro')
    const perClass = Array.from({ length: classes }, (_, c) => countsOf(counts, classes, c))
    if (average === 'binary') {
      if (classes !== 2)
        throw new AnnealError('ERR_VALUE', `${this.name}: average 'binary' is for two classes; there are ${classes}`)
      return this.figure(perClass[1]!)
    }
    if (average === 'micro') return this.figure(perClass.reduce(sum))
    const weights = perClass.map(c => (average === 'weighted' ? c.actual : 1))
    const total = weights.reduce((a, b) => a + b, 0)
    return perClass.reduce((a, c, i) => a + this.figure(c) * weights[i]!, 0) / total
  }
}

function countsOf(matrix: readonly number[], classes: number, c: number): Counts {
  let predicted = 0
  let actual = 0
  for (let i = 0; i < classes; i++) {
    predicted += matrix[i * classes + c]!
    actual += matrix[c * classes + i]!
  }
  return { hits: matrix[c * classes + c]!, predicted, actual }
}

function sum(a: Counts, b: Counts): Counts {
  return { hits: a.hits + b.hits, predicted: a.predicted + b.predicted, actual: a.actual + b.actual }
}

const ratio = (a: number, b: number): number => (b === 0 ? 0 : a / b)

/** Of the examples predicted to be of a class, the part that is; 0 where none was predicted. */
export class Precision extends PerClass {
  override readonly name = 'precision'
  protected figure({ hits, predicted }: Counts): number {
    return ratio(hits, predicted)
  }
}

/** Of the examples of a class, the part that was predicted to be; 0 where there is none. */
export class Recall extends PerClass {
  override readonly name = 'recall'
  protected figure({ hits, actual }: Counts): number {
    return ratio(hits, actual)
  }
}

/** The harmonic mean of precision and recall. */
export class F1 extends PerClass {
  override readonly name = 'f1'
  protected figure({ hits, predicted, actual }: Counts): number {
    return ratio(2 * hits, predicted + actual)
  }
}
