import { noGrad } from '../autograd'
import { give } from '../call'
import { live } from '../compile'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { zerosLike } from '../ops.generated'
import type { Parameter, Tensor } from '../tensor'
import type { BaseOptions, Params } from './optimizer'
import { type ParameterUpdate, StatefulOptimizer } from './stateful'

export interface MuonOptions extends BaseOptions {
  /** The decay of the momentum. Default: 0.95. */
  momentum: number
  /** Nesterov's momentum. Default: true. */
  nesterov: boolean
  /** Decoupled weight decay. Default: 0.1. */
  weightDecay: number
  /** Steps of the Newton-Schulz iteration. Default: 5. */
  iterations: number
  /** Added to the norm by which a matrix is divided first. Default: 1e-7. */
  eps: number
}

/** The coefficients of the quintic iteration (Jordan et al., 2024). */
const [a, b, c] = [3.4445, -4.775, 2.0315]

/**
 * Muon (Jordan et al., 2024): momentum made orthogonal by Newton-Schulz iterations, for matrices of hidden layers. Give
 * other parameters to AdamW. Default lr: 0.001. Unlike PyTorch's, the iteration runs in the parameter's own precision.
 */
export class Muon extends StatefulOptimizer<MuonOptions> {
  constructor(params?: Params<MuonOptions> | Partial<MuonOptions>, options?: Partial<MuonOptions>) {
    super(params, options, {
      lr: 1e-3,
      momentum: 0.95,
      nesterov: true,
      weightDecay: 0.1,
      iterations: 5,
      eps: 1e-7,
    })
  }

  protected initialStates(parameter: Parameter): Record<string, Tensor> {
    if (parameter.ndim !== 2) {
      throw new AnnealError(
        'ERR_SHAPE',
        `Muon: updates matrices only; got a parameter of shape [${parameter.shape}]; give it to AdamW`,
      )
    }
    return { momentum: noGrad(() => zerosLike(parameter)) }
  }

  protected updateTogether(settings: MuonOptions, _step: () => number, updates: readonly ParameterUpdate[]): void {
    for (const update of updates) noGrad(() => scope(() => this.#updateOne(settings, update)))
  }

  #updateOne(settings: MuonOptions, { parameter, grad, states }: ParameterUpdate): void {
    const { momentum, nesterov, weightDecay } = settings
    const state = states.get('momentum')!
    const next = state.add(grad.sub(state).mul(1 - momentum))
    const direction = scope(() => orthogonalized(nesterov ? grad.add(next.sub(grad).mul(momentum)) : next, settings))
    const [rows, columns] = parameter.shape as [number, number]
    const scale = Math.sqrt(Math.max(1, rows / columns))
    const kept = live(() => 1 - settings.lr * weightDecay)
    give(parameter, parameter.mul(kept).sub(direction.mul(live(() => settings.lr * scale))))
    give(state, next)
  }
}

/** The nearest half-orthogonal matrix, about: singular values come to lie around 1. */
function orthogonalized(matrix: Tensor, { iterations, eps }: MuonOptions): Tensor {
  const [rows, columns] = matrix.shape as [number, number]
  const tall = rows > columns
  let x = tall ? matrix.permute([1, 0]) : matrix
  x = x.div(x.square().sum().sqrt().maximum(eps))
  for (let i = 0; i < iterations; i++) {
    const gram = x.matmul(x.permute([1, 0]))
    const update = gram.mul(b).add(gram.matmul(gram).mul(c))
    x = x.mul(a).add(update.matmul(x))
  }
  return tall ? x.permute([1, 0]) : x
}
