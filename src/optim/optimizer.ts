import { AnnealError } from '../errors'
import type { Plain } from '../io/json'
import { Parameter, type Tensor } from '../tensor'
import { atLeast, check, isIterable, listOf, type Rules, settled } from './check'

/** Parameters that share settings; what a group leaves out is the optimizer's default. */
export type ParameterGroup<O> = Partial<O> & { params: Iterable<Parameter> }

/** What an optimizer updates: parameters, or groups of them. */
export type Params<O> = Iterable<Parameter> | Iterable<ParameterGroup<O>>

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

const rules: Rules = { lr: atLeast(0) }

/**
 * The base of all optimizers. Made with parameters, or with groups of them that have settings of their own; made without,
 * it gets the model's when the model is compiled.
 */
export abstract class Optimizer<O extends BaseOptions = BaseOptions> {
  /** The groups, with all settings filled in. They and their settings may be changed between steps. */
  groups: (O & { params: Parameter[] })[] = []
  /** How many updates have been made. */
  steps = 0
  /** The settings of groups that leave them out. */
  readonly defaults: O

  /** @throws ERR_VALUE for options that there are not or that cannot be, and for what are no parameters. */
  constructor(params: Params<O> | undefined, defaults: O, options: Partial<O> = {}) {
    this.defaults = settled(this.constructor.name, this.rules, defaults, options)
    if (params !== undefined) this.attach(params)
  }

  /** What the settings must be. */
  protected get rules(): Rules {
    return rules
  }

  /** Takes on the parameters to update: once. */
  attach(params: Params<O>): void {
    if (this.attached)
      throw new AnnealError('ERR_STATE', 'optimizer: it already has parameters; make a new one for another model')
    const list: unknown = isIterable(params) ? [...params] : params
    const given = isGroups<O>(list) ? list : [{ params: list } as ParameterGroup<O>]
    const groups = given.map(({ params, ...settings }, i) => {
      const owner = this.#nameOf(i, given.length)
      const list = listOf(owner, Parameter, params)
      return { ...settled<O>(owner, this.rules, this.defaults, settings as unknown as Partial<O>), params: list }
    })
    this.checkGroups(groups)
    this.groups = groups
  }

  get attached(): boolean {
    return this.groups.length > 0
  }

  /** The parameters of all groups. */
  parameters(): Parameter[] {
    return this.groups.flatMap(group => group.params)
  }

  /** Throws ERR_VALUE where groups, which may have been changed since, do not make sense. */
  protected checkGroups(groups: readonly (O & { params: Parameter[] })[] = this.groups): void {
    const names = Object.keys(this.defaults)
    const all = new Set<Parameter>()
    let count = 0
    for (const [i, group] of groups.entries()) {
      const owner = this.#nameOf(i, groups.length)
      check(owner, this.rules, group, names)
      for (const parameter of listOf(owner, Parameter, group.params)) all.add(parameter)
      count += group.params.length
    }
    const name = this.constructor.name
    if (count === 0) throw new AnnealError('ERR_VALUE', `${name}: got no parameters`)
    if (all.size !== count) throw new AnnealError('ERR_VALUE', `${name}: a parameter is given twice`)
  }

  #nameOf(group: number, groups: number): string {
    return groups > 1 ? `${this.constructor.name}, group ${group}` : this.constructor.name
  }

  /** The learning rate of the first group; setting it scales every group's by the same factor (or sets all where it was 0). */
  get lr(): number {
    return this.groups[0]?.lr ?? this.defaults.lr
  }

  set lr(value: number) {
    check(this.constructor.name, this.rules, { lr: value })
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

  /**
   * Continues from a saved state; nothing changes unless all of it fits.
   * @throws ERR_VALUE or ERR_SHAPE when it is not of this optimizer and these parameters.
   */
  abstract loadStateDict(saved: OptimizerState): void
}

function isGroups<O>(list: unknown): list is ParameterGroup<O>[] {
  const first: unknown = Array.isArray(list) ? list[0] : undefined
  return typeof first === 'object' && first !== null && 'params' in first
}
