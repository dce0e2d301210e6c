import { type AutocastOptions, autocast } from '../autocast'
import { AnnealError } from '../errors'
import { type MetricName, resolveMetric } from '../metrics'
import type { Metric } from '../metrics/metric'
import { shown } from '../nn/check'
import type { Module } from '../nn/module'
import { isObject } from '../objects'
import { resolveOptimizer } from '../optim'
import { Optimizer } from '../optim/optimizer'
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
  if (!isObject(options)) refuse('{ optimizer, loss, … }', options)
  const { metrics = [], capture = true, autocast: low } = options
  const optimizer = optimizerOf(options.optimizer)
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

function optimizerOf(given: unknown): Optimizer {
  if (typeof given === 'string') return resolveOptimizer(given)
  return given instanceof Optimizer ? given : refuse('optimizer to be an optimizer or its name', given)
}

function refuse(expected: string, given: unknown): never {
  const advice = typeof given === 'function' ? `; make one: new ${given.name}()` : ''
  throw new AnnealError('ERR_VALUE', `compile: expected ${expected}; got ${shown(given)}${advice}`)
}

type Metrics = readonly (MetricName | Metric)[]

function metricOf(given: unknown): Metric {
  if (typeof given === 'string') return resolveMetric(given)
  return isObject(given) && typeof given.clone === 'function'
    ? (given as unknown as Metric)
    : refuse('a metric or its name', given)
}

function namedMetrics(metrics: NonNullable<CompileOptions['metrics']>): Meter[] {
  if (typeof metrics !== 'object' || metrics === null) {
    refuse('metrics to be a list, or a list for each output', metrics)
  }
  const forOne = Array.isArray(metrics) && !metrics.every(Array.isArray)
  const perOutput = forOne || metrics.length === 0 ? { '': metrics as Metrics } : (metrics as Record<string, Metrics>)
  return Object.entries(perOutput).flatMap(([key, list]) => {
    if (!Array.isArray(list)) refuse(`the metrics for '${key}' to be a list`, list)
    return list.map(one => {
      const metric = metricOf(one)
      const name = key ? `${key}.${metric.name}` : metric.name
      return { key, name, metric, given: typeof one === 'string' ? undefined : metric }
    })
  })
}

/** A meter whose metric is its own. */
function fresh(meter: Meter): Meter {
  return { ...meter, metric: meter.metric.clone() }
}
