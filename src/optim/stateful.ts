import { dependsOn, everyRun } from '../capturing'
import { outsideCapture } from '../compile'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { Buffer, type Parameter, type Tensor } from '../tensor'
import { type BaseOptions, Optimizer, type OptimizerState, type ParameterGroup } from './optimizer'

/** What is kept for one parameter: how many updates it has had, and the rule's states by name. */
export interface Slot {
  step: number
  states: Map<string, Buffer>
}

/** Optimizers that keep tensors for each parameter. */
export abstract class StatefulOptimizer<O extends BaseOptions> extends Optimizer<O> {
  readonly #slots = new Map<Parameter, Slot>()

  /** What the states of a parameter start with. */
  protected abstract initialStates(parameter: Parameter, settings: O): Record<string, Tensor>

  /** Updates parameters that have gradients and have had as many updates. `step` gives the count of this one, from 1. */
  protected abstract updateTogether(settings: O, step: () => number, updates: readonly ParameterUpdate[]): void

  step(): void {
    for (const group of this.groups) {
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
      this.#freezeSettings(group)
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
    everyRun(
      () => this.steps++,
      () => this.steps--,
    )
  }

  /** A captured step is captured anew when settings change, but for the learning rate, which is read at every run. */
  #freezeSettings(group: O & { params: Parameter[] }): void {
    for (const name of Object.keys(group) as (keyof O)[]) if (name !== 'lr') dependsOn(this, () => group[name])
  }

  #slotOf(parameter: Parameter, settings: O): Slot {
    let slot = this.#slots.get(parameter)
    if (!slot) {
      const states = new Map<string, Buffer>()
      const { device } = parameter
      outsideCapture(() =>
        scope(() => {
          for (const [name, start] of Object.entries(this.initialStates(parameter, settings)))
            states.set(name, new Buffer(start.to(device)))
        }),
      )
      slot = { step: 0, states }
      this.#slots.set(parameter, slot)
    }
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

export type Params<O> = readonly Parameter[] | readonly ParameterGroup<O>[]

/** The two ways to make an optimizer: with parameters, or with settings only, for `compile`. */
export function parse<O extends BaseOptions>(
  first: Params<O> | Partial<O> | undefined,
  second: Partial<O> | undefined,
  defaults: O,
): [Params<O> | undefined, O] {
  const params = Array.isArray(first) ? (first as Params<O>) : undefined
  const settings = { ...defaults, ...((params ? second : (first as Partial<O> | undefined)) ?? {}) }
  if (!(settings.lr >= 0)) throw new AnnealError('ERR_VALUE', `optimizer: lr must be 0 or more; got ${settings.lr}`)
  return [params, settings]
}
