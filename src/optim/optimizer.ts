import { AnnealError } from '../errors'
import type { Plain } from '../io/json'
import type { Parameter, Tensor } from '../tensor'

/** Parameters that share settings; what a group leaves out is the optimizer's default. */
export type ParameterGroup<O> = Partial<O> & { params: readonly Parameter[] }

/** State that continues an optimizer exactly: tensors by name, and what is plain JSON. */
export interface OptimizerState {
  tensors: Record<string, Tensor>
  state: Plain
}

/** What all optimizers' settings have. */
export interface BaseOptions {
  /** The learning rate. */
  lr: number
}

/**
 * The base of all optimizers. Made with parameters, or with groups of them that have settings of their own; made without,
 * it gets the model's when the model is compiled.
 */
export abstract class Optimizer<O extends BaseOptions = BaseOptions> {
  /** The groups, with all settings filled in. Settings may be changed between steps. */
  groups: (O & { params: Parameter[] })[] = []
  /** How many updates have been made. */
  steps = 0
  /** The settings of groups that leave them out. */
  readonly defaults: O

  constructor(params: readonly Parameter[] | readonly ParameterGroup<O>[] | undefined, defaults: O) {
    this.defaults = defaults
    if (params) this.attach(params)
  }

  /** Takes on the parameters to update: once. */
  attach(params: readonly Parameter[] | readonly ParameterGroup<O>[]): void {
    if (this.attached)
      throw new AnnealError('ERR_STATE', 'optimizer: it already has parameters; make a new one for another model')
    const groups = isGroups(params) ? params : [{ params: params as readonly Parameter[] } as ParameterGroup<O>]
    this.groups = groups.map(group => ({ ...this.defaults, ...group, params: [...group.params] }))
    const all = this.parameters()
    if (all.length === 0) throw new AnnealError('ERR_VALUE', 'optimizer: got no parameters')
    if (new Set(all).size !== all.length) throw new AnnealError('ERR_VALUE', 'optimizer: a parameter is given twice')
  }

  get attached(): boolean {
    return this.groups.length > 0
  }

  /** The parameters of all groups. */
  parameters(): Parameter[] {
    return this.groups.flatMap(group => group.params)
  }

  /** The learning rate of the first group; setting it scales every group's by the same factor (or sets all where it was 0). */
  get lr(): number {
    return this.groups[0]?.lr ?? this.defaults.lr
  }

  set lr(value: number) {
    const before = this.lr
    if (!this.attached) this.defaults.lr = value
    for (const group of this.groups) group.lr = before === 0 ? value : (group.lr / before) * value
  }

  /** Drops the gradients collected in the parameters. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.grad = undefined
  }

  /** Updates every trainable parameter that has a gradient. */
  abstract step(): void

  /** What {@link loadStateDict} takes to continue exactly. */
  abstract stateDict(): OptimizerState

  /** Continues from a saved state. Throws ERR_VALUE or ERR_SHAPE when it is not of this optimizer and these parameters. */
  abstract loadStateDict(state: OptimizerState): void
}

function isGroups<O>(
  params: readonly Parameter[] | readonly ParameterGroup<O>[],
): params is readonly ParameterGroup<O>[] {
  return params.length > 0 && 'params' in params[0]!
}
