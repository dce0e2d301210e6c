import { AnnealError } from '../errors'
import { Accuracy, ConfusionMatrix, F1, Precision, Recall, TopKAccuracy } from './classification'
import type { Metric } from './metric'
import { PrAuc, RocAuc } from './ranking'
import { MeanAbsoluteError, MeanSquaredError, Perplexity, R2, RootMeanSquaredError } from './regression'

export * from './classification'
export type { Metric } from './metric'
export * from './ranking'
export * from './regression'
export { SumMetric } from './sums'

const byName = {
  accuracy: () => new Accuracy(),
  top5Accuracy: () => new TopKAccuracy(5),
  precision: () => new Precision(),
  recall: () => new Recall(),
  f1: () => new F1(),
  rocAuc: () => new RocAuc(),
  prAuc: () => new PrAuc(),
  confusion: () => new ConfusionMatrix(),
  mae: () => new MeanAbsoluteError(),
  mse: () => new MeanSquaredError(),
  rmse: () => new RootMeanSquaredError(),
  r2: () => new R2(),
  perplexity: () => new Perplexity(),
} satisfies Record<string, () => Metric>

/** The metrics that `model.compile` knows by name. */
export type MetricName = keyof typeof byName

/** A new metric of that name; throws ERR_VALUE and lists the names for an unknown one. */
export function resolveMetric(name: string): Metric {
  if (!Object.hasOwn(byName, name)) {
    throw new AnnealError(
      'ERR_VALUE',
      `compile: unknown metric '${name}'; expected one of ${Object.keys(byName).join(', ')}`,
    )
  }
  return byName[name as MetricName]()
}
