/** Losses: functions of a model's output and a target that give a scalar tensor, unless `reduction: 'none'` asks for all. */
import { AnnealError } from '../errors'
import {
  binaryCrossEntropyWithLogits,
  cosineEmbeddingLoss,
  crossEntropy,
  focalLoss,
  huberLoss,
  klDivergence,
  maeLoss,
  mseLoss,
  nllLoss,
  tripletMarginLoss,
} from '../ops.generated'
import type { Tensor } from '../tensor'

export {
  /** Cross-entropy of logits with 0/1 targets or probabilities of the same shape. */
  binaryCrossEntropyWithLogits as bceWithLogits,
  /** Pairs of vectors that should point the same way (1) or not (-1). */
  cosineEmbeddingLoss as cosineEmbedding,
  /** Cross-entropy of logits [..., classes] with class indices [...] or probabilities. */
  crossEntropy,
  /** Binary cross-entropy that fades out for well classified examples. */
  focalLoss as focal,
  /** Squared error up to a limit, linear beyond. */
  huberLoss as huber,
  /** Kullback-Leibler divergence of log-probabilities from a target distribution. */
  klDivergence as klDiv,
  /** Mean absolute error. */
  maeLoss as mae,
  /** Mean squared error. */
  mseLoss as mse,
  /** Negative log-likelihood of log-probabilities [..., classes]. */
  nllLoss as nll,
  /** An anchor that should be nearer to its positive than to its negative. */
  tripletMarginLoss as triplet,
}

/** What training minimises: a scalar tensor from a model's output and the target. */
export type LossFunction = (output: Tensor, target: Tensor) => Tensor

const named = {
  mse: (output, target) => mseLoss(output, target),
  mae: (output, target) => maeLoss(output, target),
  huber: (output, target) => huberLoss(output, target),
  crossEntropy: (output, target) => crossEntropy(output, target),
  bceWithLogits: (output, target) => binaryCrossEntropyWithLogits(output, target),
  nll: (output, target) => nllLoss(output, target),
  klDiv: (output, target) => klDivergence(output, target),
  focal: (output, target) => focalLoss(output, target),
} satisfies Record<string, LossFunction>

/** The losses of an output and a target, which `model.compile` knows by name. */
export type LossName = keyof typeof named

/** The names that {@link resolve} knows. */
export const names = Object.keys(named) as readonly LossName[]

/**
 * The loss of that name with default options, or the given function itself.
 * @throws ERR_VALUE for an unknown name; the message lists the known ones.
 */
export function resolve(loss: LossName | LossFunction): LossFunction {
  if (typeof loss === 'function') return loss
  if (Object.hasOwn(named, loss)) return named[loss]
  throw new AnnealError(
    'ERR_VALUE',
    `loss: unknown name '${String(loss)}'; expected a function or one of ${names.join(', ')}`,
  )
}
