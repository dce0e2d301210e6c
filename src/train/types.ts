import type { AutocastOptions, LowDType } from '../autocast'
import type { Dataset } from '../data'
import type { LossFunction, LossName } from '../losses'
import type { MetricName } from '../metrics'
import type { Metric } from '../metrics/metric'
import type { OptimizerName } from '../optim'
import type { Optimizer } from '../optim/optimizer'
import type { Schedule } from '../optim/schedule'
import type { Tensor } from '../tensor'
import type { Callback } from './callback'

/** Tensors that go in or out together: one, a list, or by name. */
export type Bundle = Tensor | readonly Tensor[] | Readonly<Record<string, Tensor>>

/** A batch for training: inputs, targets and, if wanted, a weight for each example. */
export type TrainingBatch = readonly [inputs: Bundle, targets: Bundle, weights?: Tensor]

/** One entry for all outputs, or one per output, in a list or by name. */
export type PerOutput<T> = T | readonly T[] | Readonly<Record<string, T>>

/** What `model.compile` takes. */
export interface CompileOptions {
  /** An optimizer without parameters, or one with some of the model's; or a name for one with its defaults. */
  // biome-ignore lint/suspicious/noExplicitAny: an optimizer of any options
  optimizer: Optimizer<any> | OptimizerName
  /** The loss of each output; a name or a function. */
  loss: PerOutput<LossName | LossFunction>
  /** The weight of each output's loss in the total. Default: 1. */
  lossWeights?: readonly number[] | Readonly<Record<string, number>>
  /**
   * Metrics, by name or as objects; for several outputs a list of metrics for each, in a list or by name. Training and
   * evaluation work on clones of the objects, which take over the result at the end of an evaluation.
   */
  metrics?:
    | readonly (MetricName | Metric)[]
    | readonly (readonly (MetricName | Metric)[])[]
    | Readonly<Record<string, readonly (MetricName | Metric)[]>>
  /**
   * Whether steps run as captured graphs; see `compile` of the package for what is frozen then. Say false for a model whose
   * `forward` depends on state of its own that changes. Default: true; a model that cannot be captured runs without.
   */
  capture?: boolean
  /**
   * The 16-bit dtype in which the model's products are computed, as by `autocast` of the package, or its options: `{ fp8: true }`
   * computes those of linear layers in 8 bits. Default: none.
   */
  autocast?: LowDType | AutocastOptions
}

/**
 * Data to train on or evaluate: a dataset of examples (with `batchSize`) or of batches, or tensors: inputs, targets and, if
 * wanted, a weight for each example. An example or batch is `[inputs, targets]` or `[inputs, targets, weights]`.
 */
// biome-ignore lint/suspicious/noExplicitAny: datasets of any element; batches are checked when they come
export type Examples = Dataset<any> | TrainingBatch

/** What `model.fit` takes. */
export interface FitOptions {
  /** Passes over the data in all, those before a resume included. Default: 1. */
  epochs?: number
  /** Examples in a batch. For tensors the default is 32; for a dataset, none: its elements are batches already. */
  batchSize?: number
  /** Whether fit shuffles. Default: true for tensors and for datasets in memory that fit batches; else false. */
  shuffle?: boolean
  /** Seed of the shuffling. Default: drawn from the generator set by `manualSeed`. */
  seed?: number
  /** Data on which the model is evaluated after each epoch. */
  validation?: Examples
  /** The last part of the tensors, kept for validation: a fraction of their examples. */
  validationSplit?: number
  /** The weight of each class in the loss, by class index, 1 where it is left out; for models with one output. */
  classWeight?: Readonly<Record<number, number>>
  /**
   * The weight of each example in the loss, [examples], where the data are tensors. The loss of a batch is the sum of
   * weighted losses over the number of examples. Metrics are not weighted.
   */
  sampleWeight?: Tensor
  /** Batches whose gradients add up to an update, as if they were one large batch. Default: 1. */
  accumulate?: number
  /** The most that the norm of all gradients together may be; larger ones are scaled down. */
  clipNorm?: number
  /** The most that a gradient's element may be, in absolute value. */
  clipValue?: number
  /** The learning rate over time, as a factor of the optimizer's own, which it has again after the fit. */
  schedule?: Schedule
  callbacks?: readonly Callback[]
  /**
   * Whether training goes on when the loss is NaN or infinite. Default: false: `fit` rejects with ERR_VALUE, naming the
   * step; nothing is saved from then on.
   */
  allowNonFinite?: boolean
  /** Shows progress on standard error. Default: true. */
  progress?: boolean
  /** Stops after the step at hand; `fit` then rejects with ERR_ABORTED and the model keeps what it learnt. */
  signal?: AbortSignal
  /** Writes a report in HTML to this path at the end. */
  report?: string
  /** Class names for the confusion matrix of the report. */
  labels?: readonly string[]
  /**
   * The folder of a checkpoint to continue from, bit for bit, given the same data and options; ignored when there is none
   * yet. A fit that a callback had stopped stays stopped.
   */
  resume?: string
}

/** What `model.evaluate` takes. */
export interface EvaluateOptions {
  /** See {@link FitOptions.batchSize}. */
  batchSize?: number
  signal?: AbortSignal
}

/** What `model.predict` takes. */
export interface PredictOptions {
  /** Examples in a batch, for tensors. Default: 32. */
  batchSize?: number
  signal?: AbortSignal
}
