import { noGrad } from '../autograd'
import type { TensorLike } from '../call'
import { live, outsideCapture } from '../compile'
import {
  adadeltaUpdate,
  adagradUpdate,
  adamUpdate,
  descentUpdate,
  lambUpdate,
  lionUpdate,
  rmsPropUpdate,
  sgdUpdate,
} from '../internal.generated'
import { scope } from '../lifetime'
import { native, throwLast } from '../native'
import { full } from '../ops.generated'
import { Buffer, type Parameter, type Tensor } from '../tensor'
import type { Rules } from './check'
import type { BaseOptions, Params } from './optimizer'
import { nesterovOfMomentum, optionRules } from './rules'
import { type ParameterUpdate, StatefulOptimizer } from './stateful'

/** What every native update takes first: see native/ops/optimizers.h. */
type UpdateInputs = readonly [
  lr: TensorLike,
  step: TensorLike,
  scale: number,
  limit: number,
  tensors: readonly Tensor[],
]

/** Optimizers whose update of all parameters is one native call. */
export abstract class FusedOptimizer<O extends BaseOptions> extends StatefulOptimizer<O> {
  /** The names of the states, in the order of the native rule. */
  protected abstract stateNames(settings: O): readonly string[]
  /** The native update: n parameters, n gradients, n of each state; gives new parameters and states. */
  protected abstract update(settings: O, inputs: UpdateInputs): Tensor[]
  /** What a state starts with. */
  protected initial(_settings: O): number {
    return 0
  }

  protected initialStates(parameter: Parameter, settings: O): Record<string, Tensor> {
    return Object.fromEntries(this.stateNames(settings).map(name => [name, this.#start(parameter, settings)]))
  }

  #start(parameter: Parameter, settings: O): Tensor {
    const dtype = parameter.dtype === 'float64' ? 'float64' : 'float32'
    return full(parameter.shape, this.initial(settings), { dtype })
  }

  /** A state, which settings that have changed may ask for anew. */
  #stateOf({ parameter, states }: ParameterUpdate, name: string, settings: O): Buffer {
    const known = states.get(name)
    if (known) return known
    const state = outsideCapture(() => scope(() => new Buffer(this.#start(parameter, settings).to(parameter.device))))
    states.set(name, state)
    return state
  }

  protected updateTogether(settings: O, step: () => number, updates: readonly ParameterUpdate[]): void {
    const parameters = updates.map(u => u.parameter)
    const states = this.stateNames(settings).flatMap(name => updates.map(u => this.#stateOf(u, name, settings)))
    const tensors = [...parameters, ...updates.map(u => u.grad), ...states]
    // A captured graph has clipping done here: scale and limit are then its own.
    const updated = noGrad(() => this.update(settings, [live(() => settings.lr), live(step), 1, Infinity, tensors]))
    // The old values are used up: each cell takes over a new one's handle.
    for (const [i, cell] of [...parameters, ...states].entries()) {
      if (!native.assign(cell.handle, updated[i]!.handle, false, false)) throwLast()
    }
  }
}

export interface SGDOptions extends BaseOptions {
  /** The part of the last update that is kept. Default: 0. */
  momentum: number
  /** How much less than 1 the gradient weighs in the momentum. Default: 0. */
  dampening: number
  /** L2 decay through the gradient. Default: 0. */
  weightDecay: number
  /** Nesterov's momentum. Default: false. */
  nesterov: boolean
}

const sgdRules: Rules = { ...optionRules, nesterov: nesterovOfMomentum }

/** Stochastic gradient descent with momentum (Sutskever et al., 2013). Default lr: 0.01. */
export class SGD extends FusedOptimizer<SGDOptions> {
  protected stateNames({ momentum }: SGDOptions): readonly string[] {
    return momentum === 0 ? [] : ['momentum']
  }

  constructor(params?: Params<SGDOptions> | Partial<SGDOptions>, options?: Partial<SGDOptions>) {
    super(params, options, { lr: 0.01, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false })
  }

  protected override get rules(): Rules {
    return sgdRules
  }

  protected update({ momentum, dampening, weightDecay, nesterov }: SGDOptions, inputs: UpdateInputs): Tensor[] {
    if (momentum === 0) return descentUpdate(...inputs, { weightDecay })
    return sgdUpdate(...inputs, { momentum, dampening, weightDecay, nesterov })
  }
}

export interface AdamOptions extends BaseOptions {
  /** The decays of the mean gradient and of the mean squared gradient. Default: [0.9, 0.999]. */
  betas: readonly [number, number]
  /** Added to the denominator. Default: 1e-8. */
  eps: number
  /** Weight decay: through the gradient in Adam (default 0), decoupled in AdamW (default 0.01). */
  weightDecay: number
}

const adamDefaults: AdamOptions = { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0 }

/** Optimizers that go by the means of gradients and of their squares. */
abstract class MomentOptimizer extends FusedOptimizer<AdamOptions> {
  protected stateNames(): readonly string[] {
    return ['mean', 'variance']
  }
}

type AdamParams = Params<AdamOptions> | Partial<AdamOptions>

/** Adam (Kingma & Ba, 2015). Default lr: 0.001. */
export class Adam extends MomentOptimizer {
  constructor(params?: AdamParams, options?: Partial<AdamOptions>) {
    super(params, options, adamDefaults)
  }

  protected update({ betas, eps, weightDecay }: AdamOptions, inputs: UpdateInputs): Tensor[] {
    return adamUpdate(...inputs, { beta1: betas[0], beta2: betas[1], eps, weightDecay })
  }
}

/** Adam with decoupled weight decay (Loshchilov & Hutter, 2019). Default lr: 0.001. */
export class AdamW extends MomentOptimizer {
  constructor(params?: AdamParams, options?: Partial<AdamOptions>) {
    super(params, options, { ...adamDefaults, weightDecay: 0.01 })
  }

  protected update({ betas, eps, weightDecay }: AdamOptions, inputs: UpdateInputs): Tensor[] {
    return adamUpdate(...inputs, { beta1: betas[0], beta2: betas[1], eps, weightDecay, decoupled: true })
  }
}

export interface RMSpropOptions extends BaseOptions {
  /** The decay of the mean squared gradient. Default: 0.99. */
  alpha: number
  /** Added to the denominator. Default: 1e-8. */
  eps: number
  /** The part of the last update that is kept. Default: 0. */
  momentum: number
  /** L2 decay through the gradient. Default: 0. */
  weightDecay: number
  /** Divide by the standard deviation instead of the root mean square. Default: false. */
  centered: boolean
}

/** RMSprop (Tieleman & Hinton, 2012). Default lr: 0.01. */
export class RMSprop extends FusedOptimizer<RMSpropOptions> {
  protected stateNames(): readonly string[] {
    return ['square', 'mean', 'momentum']
  }

  constructor(params?: Params<RMSpropOptions> | Partial<RMSpropOptions>, options?: Partial<RMSpropOptions>) {
    super(params, options, { lr: 0.01, alpha: 0.99, eps: 1e-8, momentum: 0, weightDecay: 0, centered: false })
  }

  protected update({ alpha, eps, momentum, weightDecay, centered }: RMSpropOptions, inputs: UpdateInputs): Tensor[] {
    return rmsPropUpdate(...inputs, { alpha, eps, momentum, weightDecay, centered })
  }
}

export interface AdagradOptions extends BaseOptions {
  /** The decay of the learning rate over the steps. Default: 0. */
  lrDecay: number
  /** Added to the denominator. Default: 1e-10. */
  eps: number
  /** L2 decay through the gradient. Default: 0. */
  weightDecay: number
  /** What the sums of squares start with. Default: 0. */
  initialAccumulator: number
}

/** Adagrad (Duchi et al., 2011). Default lr: 0.01. */
export class Adagrad extends FusedOptimizer<AdagradOptions> {
  protected stateNames(): readonly string[] {
    return ['sum']
  }

  constructor(params?: Params<AdagradOptions> | Partial<AdagradOptions>, options?: Partial<AdagradOptions>) {
    super(params, options, { lr: 0.01, lrDecay: 0, eps: 1e-10, weightDecay: 0, initialAccumulator: 0 })
  }

  protected override initial({ initialAccumulator }: AdagradOptions): number {
    return initialAccumulator
  }

  protected update({ lrDecay, eps, weightDecay }: AdagradOptions, inputs: UpdateInputs): Tensor[] {
    return adagradUpdate(...inputs, { lrDecay, eps, weightDecay })
  }
}

export interface AdadeltaOptions extends BaseOptions {
  /** The decay of the mean squares. Default: 0.9. */
  rho: number
  /** Added under the roots. Default: 1e-6. */
  eps: number
  /** L2 decay through the gradient. Default: 0. */
  weightDecay: number
}

/** Adadelta (Zeiler, 2012). Default lr: 1. */
export class Adadelta extends FusedOptimizer<AdadeltaOptions> {
  protected stateNames(): readonly string[] {
    return ['square', 'delta']
  }

  constructor(params?: Params<AdadeltaOptions> | Partial<AdadeltaOptions>, options?: Partial<AdadeltaOptions>) {
    super(params, options, { lr: 1, rho: 0.9, eps: 1e-6, weightDecay: 0 })
  }

  protected update({ rho, eps, weightDecay }: AdadeltaOptions, inputs: UpdateInputs): Tensor[] {
    return adadeltaUpdate(...inputs, { rho, eps, weightDecay })
  }
}

export interface LionOptions extends BaseOptions {
  /** How much the momentum weighs in the direction, and its decay. Default: [0.9, 0.99]. */
  betas: readonly [number, number]
  /** Decoupled weight decay. Default: 0. */
  weightDecay: number
}

/** Lion (Chen et al., 2023). Default lr: 0.0001. */
export class Lion extends FusedOptimizer<LionOptions> {
  protected stateNames(): readonly string[] {
    return ['momentum']
  }

  constructor(params?: Params<LionOptions> | Partial<LionOptions>, options?: Partial<LionOptions>) {
    super(params, options, { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0 })
  }

  protected update({ betas, weightDecay }: LionOptions, inputs: UpdateInputs): Tensor[] {
    return lionUpdate(...inputs, { beta1: betas[0], beta2: betas[1], weightDecay })
  }
}

/** LAMB (You et al., 2020): Adam whose step has the length of the parameter's norm times lr. Default lr: 0.001. */
export class LAMB extends MomentOptimizer {
  constructor(params?: AdamParams, options?: Partial<AdamOptions>) {
    super(params, options, { ...adamDefaults, eps: 1e-6 })
  }

  protected update({ betas, eps, weightDecay }: AdamOptions, inputs: UpdateInputs): Tensor[] {
    return lambUpdate(...inputs, { beta1: betas[0], beta2: betas[1], eps, weightDecay })
  }
}
