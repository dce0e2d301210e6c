import { noGrad } from '../autograd'
import { give } from '../call'
import { live } from '../compile'
import { scope } from '../lifetime'
import { zeros } from '../ops.generated'
import type { Buffer, Parameter, Tensor } from '../tensor'
import { above0, type Rules } from './check'
import type { BaseOptions, Params } from './optimizer'
import { floors, optionRules } from './rules'
import { type ParameterUpdate, StatefulOptimizer } from './stateful'

export interface AdafactorOptions extends BaseOptions {
  /** The exponent of the growing decay of the mean squares, 1 - step^beta2Decay. Default: -0.8. */
  beta2Decay: number
  /** Floors of the mean squares (null: the dtype's epsilon) and of the parameter's root mean square. Default: [null, 1e-3]. */
  eps: readonly [number | null, number]
  /** The most that the root mean square of an update may be. Default: 1. */
  clipThreshold: number
  /** Decoupled weight decay. Default: 0. */
  weightDecay: number
}

const adafactorRules: Rules = {
  ...optionRules,
  beta2Decay: {
    expected: 'a finite number of at most 0',
    holds: value => Number.isFinite(value) && (value as number) <= 0,
  },
  eps: floors,
  clipThreshold: above0,
}

/**
 * Adafactor (Shazeer & Stern, 2018) in PyTorch's form: for matrices it keeps only means of squares per row and column.
 * Default lr: 0.01.
 */
export class Adafactor extends StatefulOptimizer<AdafactorOptions> {
  constructor(params?: Params<AdafactorOptions> | Partial<AdafactorOptions>, options?: Partial<AdafactorOptions>) {
    super(params, options, {
      lr: 0.01,
      beta2Decay: -0.8,
      eps: [null, 1e-3],
      clipThreshold: 1,
      weightDecay: 0,
    })
  }

  protected override get rules(): Rules {
    return adafactorRules
  }

  protected initialStates({ shape, dtype }: Parameter): Record<string, Tensor> {
    if (shape.length < 2) return { variance: zeros(shape, { dtype }) }
    const row: Tensor = zeros([...shape.slice(0, -1), 1], { dtype })
    return { row, column: zeros([...shape.slice(0, -2), 1, shape.at(-1)!], { dtype }) }
  }

  protected updateTogether(settings: AdafactorOptions, step: () => number, updates: readonly ParameterUpdate[]): void {
    for (const update of updates) noGrad(() => scope(() => this.#updateOne(settings, step, update)))
  }

  #updateOne(settings: AdafactorOptions, step: () => number, { parameter, grad, states }: ParameterUpdate): void {
    const { clipThreshold, weightDecay } = settings
    const [smallest, scaleFloor] = settings.eps
    const floor = smallest ?? (parameter.dtype === 'float64' ? 2 ** -52 : 2 ** -23)
    const weight = live(() => step() ** settings.beta2Decay) // of the new squares: one minus the decay
    const rate = live(() => Math.min(settings.lr, 1 / Math.sqrt(step())))
    const size = parameter.square().mean().sqrt().maximum(scaleFloor).mul(rate)
    const decayed = weightDecay ? parameter.mul(live(() => 1 - settings.lr * weightDecay)) : parameter
    const tracked: [state: Buffer, next: Tensor][] = []
    const track = (name: string, value: Tensor) => {
      const state = states.get(name)!
      const next = state.add(value.sub(state).mul(weight))
      tracked.push([state, next])
      return next
    }
    const squares = grad.square()
    let variance: Tensor
    if (parameter.ndim < 2) {
      variance = track('variance', squares)
    } else {
      const row = track('row', squares.mean({ axis: -1, keepDims: true }))
      const column = track('column', squares.mean({ axis: -2, keepDims: true }))
      variance = row.mul(column).div(row.mean({ axis: -2, keepDims: true }).maximum(floor))
    }
    const direction = grad.mul(variance.maximum(floor * floor).rsqrt())
    const norm = direction.square().mean().sqrt()
    const step_ = size.div(norm.div(clipThreshold).maximum(1))
    give(parameter, decayed.sub(direction.mul(step_)))
    for (const [state, next] of tracked) give(state, next)
  }
}
