import { tensor } from '../creation'
import { AnnealError } from '../errors'
import { type LossFunction, type LossName, resolve as resolveLoss } from '../losses'
import { trueClasses } from '../metrics/sums'
import { shown } from '../nn/check'
import { take } from '../ops.generated'
import { Tensor } from '../tensor'
import { checkRows, entriesOf, settingFor } from './bundle'
import type { Bundle, CompileOptions } from './types'

/** The losses of a model's outputs and how they add up. */
export class Objective {
  #checked = false

  constructor(private readonly options: Pick<CompileOptions, 'loss' | 'lossWeights'>) {
    const { loss } = options
    const named = isLoss(loss) ? [loss] : Object.values(loss ?? {})
    if (named.length === 0) throw new AnnealError('ERR_VALUE', 'compile: there is no loss; give a name or a function')
    for (const one of named) resolveLoss(one as LossName | LossFunction)
  }

  /** Scalars by name: first the total, as 'loss', and then each output's share where there are several. */
  compute(
    outputs: Bundle,
    targets: Bundle,
    weights?: Tensor,
    classWeight?: Readonly<Record<number, number>>,
  ): [string, Tensor][] {
    const pairs = paired(outputs, targets)
    if (!this.#checked) this.#checkKeys(pairs.map(([key]) => key))
    if (classWeight && pairs.length !== 1) {
      throw new AnnealError('ERR_VALUE', 'fit: classWeight is for models with one output; use sampleWeight')
    }
    const parts = pairs.map(([key, output, target]): [string, Tensor] => {
      const ofClasses = classWeight && weightsOfClasses(output, target, classWeight)
      const given = this.#lossFor(key)
      // Those by name are all row by row; a function may take what it likes.
      if (typeof given === 'string') checkRows(output, target.shape[0]!)
      const loss = lossOf(resolveLoss(given), output, target, weights, ofClasses)
      const weight = this.options.lossWeights ? settingFor<number>(this.options.lossWeights, key, () => false) : 1
      return [`${key}.loss`, weight === undefined || weight === 1 ? loss : loss.mul(weight)]
    })
    const total = parts.map(([, loss]) => loss).reduce((a, b) => a.add(b))
    return [['loss', total], ...(parts.length > 1 ? parts : [])]
  }

  #lossFor(key: string): LossName | LossFunction {
    const loss = settingFor<LossName | LossFunction>(this.options.loss, key, isLoss)
    if (loss === undefined) throw new AnnealError('ERR_VALUE', `compile: there is no loss for output '${key}'`)
    return loss
  }

  /** A setting for an output that does not exist is a slip that would go unnoticed. */
  #checkKeys(outputs: readonly string[]): void {
    const { loss, lossWeights = {} } = this.options
    for (const [what, setting] of Object.entries({ loss: isLoss(loss) ? {} : loss, lossWeights })) {
      const stray = Object.keys(setting).find(key => !outputs.includes(key))
      if (stray !== undefined) {
        throw new AnnealError(
          'ERR_VALUE',
          `compile: ${what} for '${stray}', which is no output; the outputs are ${named(outputs)}`,
        )
      }
    }
    this.#checked = true
  }
}

function isLoss(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'function'
}

function named(keys: readonly string[]): string {
  return keys.map(key => (key === '' ? 'one tensor' : `'${key}'`)).join(', ')
}

/** Outputs with their targets, by key. */
export function paired(outputs: Bundle, targets: Bundle): [string, Tensor, Tensor][] {
  const given = new Map(entriesOf(targets, 'targets'))
  return entriesOf(outputs, 'outputs').map(([key, output]) => {
    const target = given.get(key)
    if (!target) {
      throw new AnnealError(
        'ERR_VALUE',
        `model: there is no target for output ${named([key])}; the targets are ${named([...given.keys()])}`,
      )
    }
    return [key, output, target]
  })
}

/** The mean loss; with weights the sum of weighted losses of examples over their number. */
function lossOf(
  fn: LossFunction,
  output: Tensor,
  target: Tensor,
  weights: Tensor | undefined,
  ofClasses: Tensor | undefined,
): Tensor {
  if (!weights && !ofClasses) {
    const loss = tensorOf(fn(output, target))
    return loss.ndim === 0 ? loss : loss.mean()
  }
  let each = tensorOf(fn(output, target, { reduction: 'none' }))
  if (each.ndim === 0) {
    throw new AnnealError(
      'ERR_SHAPE',
      "loss: weights need a loss for each example, but the loss gave one number; honour { reduction: 'none' } in it",
    )
  }
  if (ofClasses) {
    const perLabel = each.size === ofClasses.size ? each : each.reshape([ofClasses.size, -1]).mean({ axis: 1 })
    each = perLabel.mul(ofClasses.reshape(perLabel.shape))
  }
  if (!weights) return each.mean()
  const perExample = each.ndim === 1 ? each : each.reshape([each.shape[0]!, -1]).mean({ axis: 1 })
  return perExample.mul(weights).mean()
}

function tensorOf(loss: unknown): Tensor {
  if (loss instanceof Tensor) return loss
  throw new AnnealError(
    'ERR_VALUE',
    `fit: the loss function must give a tensor, computed from the output by ops; got ${shown(loss)}`,
  )
}

/** The weight of each label from its class, flat: targets are class indices, 0 or 1 for one logit, or one value per class. */
function weightsOfClasses(output: Tensor, target: Tensor, given: Readonly<Record<number, number>>): Tensor {
  const labels = trueClasses(output, target).detach()
  const classes = Math.max(output.size / labels.size, 2)
  for (const [key, weight] of Object.entries(given)) {
    if (!(Number.isInteger(Number(key)) && Number(key) >= 0 && Number(key) < classes && weight >= 0)) {
      throw new AnnealError(
        'ERR_VALUE',
        `fit: classWeight must give weights of 0 or more for classes 0 to ${classes - 1}; got ${key}: ${weight}`,
      )
    }
  }
  // Labels below 0 are those that a loss ignores: their weight does not matter.
  return take(tensor(Float32Array.from({ length: classes }, (_, i) => given[i] ?? 1)), labels.maximum(0))
}
