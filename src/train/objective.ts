import { AnnealError } from '../errors'
import { type LossFunction, resolve as resolveLoss } from '../losses'
import { take } from '../ops.generated'
import { type Tensor, tensor } from '../tensor'
import { entriesOf, settingFor } from './bundle'
import type { Bundle, CompileOptions } from './types'

/** The losses of a model's outputs and how they add up. */
export class Objective {
  constructor(private readonly options: Pick<CompileOptions, 'loss' | 'lossWeights'>) {
    const { loss } = options
    const named = isLoss(loss) ? [loss] : Object.values(loss)
    for (const one of named) if (typeof one === 'string') resolveLoss(one)
  }

  /** The total loss, a scalar, and each output's share when there are several. */
  compute(outputs: Bundle, targets: Bundle, weights?: Tensor): { total: Tensor; parts: [string, Tensor][] } {
    const pairs = paired(outputs, targets)
    const parts = pairs.map(([key, output, target]): [string, Tensor] => {
      const loss = lossOf(this.lossFor(key), output, target, weights)
      const weight = this.options.lossWeights ? settingFor<number>(this.options.lossWeights, key, () => false) : 1
      return [key, weight === undefined || weight === 1 ? loss : loss.mul(weight)]
    })
    const total = parts.map(([, loss]) => loss).reduce((a, b) => a.add(b))
    return { total, parts: parts.length > 1 ? parts : [] }
  }

  private lossFor(key: string): LossFunction {
    const loss = settingFor<string | LossFunction>(this.options.loss, key, isLoss)
    if (loss === undefined) throw new AnnealError('ERR_VALUE', `compile: there is no loss for output '${key}'`)
    return typeof loss === 'string' ? resolveLoss(loss) : loss
  }
}

function isLoss(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'function'
}

/** Outputs with their targets, by key. */
export function paired(outputs: Bundle, targets: Bundle): [string, Tensor, Tensor][] {
  const given = new Map(entriesOf(targets, 'targets'))
  return entriesOf(outputs, 'outputs').map(([key, output]) => {
    const target = given.get(key)
    if (!target) {
      throw new AnnealError(
        'ERR_VALUE',
        `fit: there is no target for output '${key}'; targets are [${[...given.keys()]}]`,
      )
    }
    return [key, output, target]
  })
}

function lossOf(fn: LossFunction, output: Tensor, target: Tensor, weights: Tensor | undefined): Tensor {
  if (!weights) {
    const loss = fn(output, target)
    return loss.ndim === 0 ? loss : loss.mean()
  }
  const each = fn(output, target, { reduction: 'none' })
  if (each.ndim === 0) {
    throw new AnnealError(
      'ERR_SHAPE',
      "fit: weights need a loss for each example, but the loss gave one number; honour { reduction: 'none' } in it",
    )
  }
  const perExample = each.ndim === 1 ? each : each.reshape([each.shape[0]!, -1]).mean({ axis: 1 })
  return perExample.mul(weights).mean()
}

/** The weight of each example from its class: targets are class indices, 0 or 1 for one logit, or one row per class. */
export function weightsOfClasses(targets: Bundle, classWeight: Readonly<Record<number, number>>): Tensor {
  const entries = entriesOf(targets, 'targets')
  if (entries.length !== 1) {
    throw new AnnealError('ERR_VALUE', 'fit: classWeight is for models with one output; use sampleWeight')
  }
  const target = entries[0]![1]
  const rows = target.shape[0]!
  const oneHot = target.ndim > 1 && target.shape[target.ndim - 1]! > 1 && target.dtype.includes('float')
  const classes = oneHot ? target.argmax({ axis: -1 }) : target.reshape([rows]).cast('int64')
  const count = Math.max(...Object.keys(classWeight).map(Number), oneHot ? target.shape[1]! - 1 : 0) + 1
  const table = Float32Array.from({ length: Math.max(count, 2) }, (_, i) => classWeight[i] ?? 1)
  return take(tensor(table), classes)
}
