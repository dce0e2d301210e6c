/**
 * Losses: functions of a model's output, a target and options. They give the mean over the examples, a scalar, unless
 * `reduction` says 'sum' or 'none'. Classifiers' losses take logits.
 */
import { isFloat } from '../dtype'
import { AnnealError } from '../errors'
import * as ops from '../ops.generated'
import type { Tensor } from '../tensor'

/** What training minimises. With reduction 'none' it gives a loss for each example or element. */
export type LossFunction = (output: Tensor, target: Tensor, options?: { reduction?: 'none' | 'mean' | 'sum' }) => Tensor

export {
  cosineEmbeddingLoss as cosineEmbedding,
  ctcLoss as ctc,
  focalLoss as focal,
  huberLoss as huber,
  klDivergence as klDiv,
  maeLoss as mae,
  mseLoss as mse,
  tripletMarginLoss as triplet,
} from '../ops.generated'

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions extends ops.CrossEntropyOptions {
  /** The weight of each class, [classes]. */
  weight?: Tensor
}

/**
 * Cross-entropy of logits [..., classes] with class indices [...], or with probabilities of the logits' shape.
 * @throws ERR_DTYPE for class indices that are no integers.
 */
export function crossEntropy(logits: Tensor, target: Tensor, { weight, ...options }: CrossEntropyOptions = {}): Tensor {
  if (isFloat(target.dtype) && target.ndim < logits.ndim) {
    throw new AnnealError(
      'ERR_DTYPE',
      `crossEntropy: class indices must be integers; got ${target.dtype} [${target.shape}] for logits [${logits.shape}]; ` +
        "use target.cast('int64')",
    )
  }
  return ops.crossEntropy(logits, target, weight, options)
}

/** Options of {@link nll}. */
export interface NllOptions extends ops.NllLossOptions {
  /** The weight of each class, [classes]. */
  weight?: Tensor
}

/** Negative log-likelihood of log-probabilities [..., classes] at class indices [...]. */
export function nll(logProbabilities: Tensor, target: Tensor, { weight, ...options }: NllOptions = {}): Tensor {
  return ops.nllLoss(logProbabilities, target, weight, options)
}

/** Options of {@link bceWithLogits}. */
export interface BceWithLogitsOptions extends ops.BinaryCrossEntropyWithLogitsOptions {
  /** The weight of each element; broadcast to the logits. */
  weight?: Tensor
  /** The weight of positive targets; broadcast to the logits. */
  posWeight?: Tensor
}

/** Cross-entropy of logits with 0/1 targets or probabilities of the same shape. */
export function bceWithLogits(
  logits: Tensor,
  target: Tensor,
  { weight, posWeight, ...options }: BceWithLogitsOptions = {},
): Tensor {
  return ops.binaryCrossEntropyWithLogits(logits, target, weight, posWeight, options)
}

const named = {
  mse: ops.mseLoss,
  mae: ops.maeLoss,
  huber: ops.huberLoss,
  crossEntropy,
  bceWithLogits,
  nll,
  klDiv: ops.klDivergence,
  focal: ops.focalLoss,
} satisfies Record<string, LossFunction>

/** The losses of an output and a target, which `model.compile` knows by name. */
export type LossName = keyof typeof named

/** The names that {@link resolve} knows. */
export const names = Object.keys(named) as readonly LossName[]

/**
 * The loss of that name with default options, or the given function itself.
 * @throws ERR_VALUE for an unknown name; the message lists the known ones.
 */
export function resolve(loss: string | LossFunction): LossFunction {
  if (typeof loss === 'function') return loss
  if (Object.hasOwn(named, loss)) return named[loss as LossName]
  throw new AnnealError(
    'ERR_VALUE',
    `loss: unknown name '${String(loss)}'; expected a function or one of ${names.join(', ')}`,
  )
}
