import { currentRecording, dependsOn, everyRun } from '../capturing'
import { outsideCapture } from '../compile'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { Buffer, type Parameter, type Tensor } from '../tensor'
import type { Rules } from './check'
import { type BaseOptions, Optimizer, type OptimizerState, type Params } from './optimizer'
import { optionRules } from './rules'

/** What is kept for one parameter: how many updates it has had, and the rule's states by name. */
export interface Slot {
  step: number
  states: Map<string, Buffer>
}

/** Optimizers that keep tensors for each parameter. */
export abstract class StatefulOptimizer<O extends BaseOptions> extends Optimizer<O> {
  readonly #slots = new Map<Parameter, Slot>()

  /** Made in one of two ways: with parameters, or with settings only, for `compile`. */
  constructor(first: Params<O> | Partial<O> | undefined, second: Partial<O> | undefined, defaults: O) {
    const [params, options] = isOptions<O>(first) ? [undefined, { ...first, ...second }] : [first, second]
    super(params, defaults, options)
  }

  protected override get rules(): Rules {
    return optionRules
  }

  /** What the states of a parameter start with. */
  protected abstract initialStates(parameter: Parameter, settings: O): Record<string, Tensor>

  /** Updates parameters that have gradients and have had as many updates. `step` gives the count of this one, from 1. */
  protected abstract updateTogether(settings: O, step: () => number, updates: readonly ParameterUpdate[]): void

  step(): void {
    if (!this.attached) {
      throw new AnnealError(
        'ERR_STATE',
        `${this.constructor.name}: it has no parameters; give them to the constructor, or the optimizer to compile() of a model`,
      )
    }
    this.checkGroups()
    if (currentRecording()) this.#freezeGroups()
    for (const group of this.groups) this.#updateGroup(group)
    everyRun(
      () => this.steps++,
      () => this.steps--,
    )
  }

  #updateGroup(group: O & { params: Parameter[] }): void {
    // All of them, unless some had no gradient for a time.
    const byStep = new Map<number, (ParameterUpdate & { slot: Slot })[]>()
    for (const parameter of group.params) {
      const grad = parameter.trainable ? parameter.grad : undefined
      if (!grad) continue
      const slot = this.#slotOf(parameter, group)
      const together = byStep.get(slot.step) ?? []
      together.push({ parameter, grad, slot, states: slot.states })
      byStep.set(slot.step, together)
    }
    for (const updates of byStep.values()) {
      const slots = updates.map(u => u.slot)
      const [first] = slots as [Slot, ...Slot[]]
      dependsOn(this, () => slots.every(slot => slot.step === first.step))
      const count = (by: number) => () => {
        for (const slot of slots) slot.step += by
      }
      everyRun(count(1), count(-1))
      this.updateTogether(group, () => first.step, updates)
      for (const { grad } of updates) grad.dispose()
    }
  }

  /**
   * A captured step is captured anew when groups, their parameters or settings change; but the learning rate is read at
   * every run, and only one that cannot be has a new capture, which refuses it.
   */
  #freezeGroups(): void {
    this.#dependsOnEach(() => this.groups)
    for (const group of this.groups) {
      for (const name of Object.keys(group) as (keyof O)[]) {
        if (name === 'lr') dependsOn(this, () => this.rules.lr?.holds(group.lr, group))
        else this.#dependsOnEach(() => group[name])
      }
    }
  }

  /** Captures anew when `read` gives something else, or a list of other elements. */
  #dependsOnEach(read: () => unknown): void {
    const value = read()
    if (!Array.isArray(value)) {
      dependsOn(this, read)
      return
    }
    const list = read as () => readonly unknown[] | undefined
    dependsOn(this, () => list()?.length)
    for (const i of value.keys()) dependsOn(this, () => list()?.[i])
  }

  #slotOf(parameter: Parameter, settings: O): Slot {
    const known = this.#slots.get(parameter)
    if (known) return known
    const slot: Slot = { step: 0, states: new Map() }
    outsideCapture(() => scope(() => setStates(slot, parameter, this.initialStates(parameter, settings))))
    this.#slots.set(parameter, slot)
    return slot
  }

  stateDict(): OptimizerState {
    const tensors: Record<string, Tensor> = {}
    const steps = this.parameters().map((parameter, i) => {
      const slot = this.#slots.get(parameter)
      for (const [name, state] of slot?.states ?? []) tensors[`${i}.${name}`] = state.detach()
      return slot?.step ?? 0
    })
    return { tensors, state: { kind: this.constructor.name, steps, updates: this.steps, groups: this.#settings() } }
  }

  /** The settings of the groups, without their parameters. */
  #settings(): Record<string, number | boolean>[] {
    return this.groups.map(({ params: _, ...rest }) => rest as unknown as Record<string, number | boolean>)
  }

  loadStateDict({ tensors, state }: OptimizerState): void {
    const saved = state as { kind: string; steps: number[]; updates: number; groups: Partial<O>[] }
    const parameters = this.parameters()
    const same = saved.kind === this.constructor.name && saved.groups.length === this.groups.length
    if (!same || saved.steps.length !== parameters.length) {
      throw new AnnealError(
        'ERR_VALUE',
        `optimizer: the state is of ${saved.kind} with ${saved.steps.length} parameters in ${saved.groups.length} groups; expected ${this.constructor.name} with ${parameters.length} in ${this.groups.length}`,
      )
    }
    for (const [i, group] of this.groups.entries()) Object.assign(group, saved.groups[i])
    scope(() => {
      for (const [i, parameter] of parameters.entries()) this.#restore(parameter, i, saved.steps[i]!, tensors)
    })
    this.steps = saved.updates
  }

  #restore(parameter: Parameter, index: number, step: number, tensors: Record<string, Tensor>): void {
    if (step === 0) return void this.#slots.delete(parameter)
    const slot = this.#slotOf(parameter, this.groups.find(group => group.params.includes(parameter))!)
    slot.step = step
    for (const [name, state] of slot.states) {
      const value = tensors[`${index}.${name}`]
      if (!value) throw new AnnealError('ERR_VALUE', `optimizer: the state has no tensor '${index}.${name}'`)
      state.assign(value)
    }
  }
}

/** One parameter of an update, its gradient and its states. */
export interface ParameterUpdate {
  parameter: Parameter
  grad: Tensor
  states: Map<string, Buffer>
}

function isOptions<O>(value: unknown): value is Partial<O> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

/** Gives a parameter's states values, each in place where it is there already. */
function setStates({ states }: Slot, { device }: Parameter, values: Readonly<Record<string, Tensor>>): void {
  for (const [name, value] of Object.entries(values)) {
    const known = states.get(name)
    if (known) known.assign(value)
    else states.set(name, new Buffer(value.to(device)))
  }
}
