import { type AutocastOptions, autocast } from '../autocast'
import { AnnealError } from '../errors'
import { resolveMetric } from '../metrics'
import type { Metric } from '../metrics/metric'
import type { Module } from '../nn/module'
import { resolveOptimizer } from '../optim'
import type { Optimizer } from '../optim/optimizer'
import { type Meter, Meters } from './meter'
import { Objective } from './objective'
import type { CompileOptions } from './types'

/** A compiled model: what its training goes by. */
export interface Compiled {
  readonly optimizer: Optimizer
  readonly objective: Objective
  /** Whether steps are to run as captured graphs. */
  readonly capture: boolean
  /** What the model's products are computed in, if not what its inputs are. */
  readonly autocast: AutocastOptions | undefined
  /** Metrics without batches, of one's own. */
  meters(): Meters
}

/** Checks and resolves how a model is to be trained; see `Module.compile`. */
export function compile(model: Module, options: CompileOptions): Compiled {
  const { optimizer: given, metrics = [], capture = true, autocast: low } = options
  const optimizer = typeof given === 'string' ? resolveOptimizer(given) : given
  const own = new Set(model.parameters())
  if (!optimizer.attached) optimizer.attach([...own])
  if (!optimizer.parameters().some(parameter => own.has(parameter))) {
    throw new AnnealError(
      'ERR_VALUE',
      "compile: the optimizer has none of this model's parameters; make one of its own for each model",
    )
  }
  const precision = typeof low === 'string' ? { dtype: low } : low
  if (precision) autocast(() => {}, precision) // says what is wrong with it, if anything, here rather than in fit()
  const named = namedMetrics(metrics)
  return {
    optimizer,
    objective: new Objective(options),
    capture,
    autocast: precision,
    meters: () => new Meters(named.map(fresh)),
  }
}

type Metrics = readonly (string | Metric)[]

function namedMetrics(metrics: NonNullable<CompileOptions['metrics']>): Meter[] {
  const forOne = Array.isArray(metrics) && !metrics.every(Array.isArray)
  const perOutput = forOne || metrics.length === 0 ? { '': metrics as Metrics } : (metrics as Record<string, Metrics>)
  return Object.entries(perOutput).flatMap(([key, list]) =>
    list.map(one => {
      const given = typeof one === 'string' ? undefined : one
      const metric = given ?? resolveMetric(one as string)
      return { key, name: key ? `${key}.${metric.name}` : metric.name, metric, given }
    }),
  )
}

/** A meter whose metric is its own. */
function fresh(meter: Meter): Meter {
  return { ...meter, metric: meter.metric.clone() }
}
