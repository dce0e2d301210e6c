import { currentRecording, dependsOn, everyRun, refuseWhileCapturing } from '../capturing'
import { outsideCapture } from '../compile'
import { AnnealError } from '../errors'
import type { Plain } from '../io/json'
import { scope } from '../lifetime'
import { shown } from '../nn/check'
import { isPlainObject } from '../objects'
import { zerosLike } from '../ops.generated'
import { Buffer, type Parameter, Tensor } from '../tensor'
import { copied, type Rules, settled, wholeFrom } from './check'
import { type BaseOptions, Optimizer, type OptimizerState, type Params } from './optimizer'
import { optionRules } from './rules'

/** What is kept for one parameter: how many updates it has had, and the rule's states by name. */
export interface Slot {
  step: number
  states: Map<string, Buffer>
}

/** What a saved state holds beside tensors: the updates of each parameter and in all, and the groups' settings. */
interface Saved<O> {
  kind: string
  steps: number[]
  updates: number
  groups: Partial<O>[]
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
      if (!slot?.step) return 0
      for (const [name, state] of slot.states) tensors[`${i}.${name}`] = state.detach()
      return slot.step
    })
    const groups = this.groups.map(settingsOf) as unknown as Plain[]
    return { tensors, state: { kind: this.constructor.name, steps, updates: this.steps, groups } }
  }

  loadStateDict(given: OptimizerState): void {
    refuseWhileCapturing('loadStateDict()')
    const { kind, steps, updates, groups } = this.#fitting(given)
    const settings = this.groups.map((group, i) => settled<O>(kind, this.rules, settingsOf(group), groups[i]!))
    const settingsOfEach = this.groups.flatMap(({ params }, i) => params.map(() => settings[i]!))
    const parameters = this.parameters()
    scope(() => {
      const restored = parameters.map((parameter, i) =>
        scope(() =>
          this.#statesAt(steps[i]!, parameter, settingsOfEach[i]!, (name, start) =>
            savedState(kind, given.tensors, `${i}.${name}`, start),
          ),
        ),
      )
      // All of it fits: from here on things change.
      for (const [i, group] of this.groups.entries()) Object.assign(group, settings[i])
      for (const [i, parameter] of parameters.entries()) {
        const states = restored[i]
        if (!states) continue
        const slot = this.#slots.get(parameter) ?? { step: 0, states: new Map() }
        setStates(slot, parameter, states)
        slot.step = steps[i]!
        this.#slots.set(parameter, slot)
      }
    })
    this.steps = updates
  }

  /** What a state holds beside tensors, if it is one of this optimizer. */
  #fitting(given: OptimizerState): Saved<O> {
    const kind = this.constructor.name
    if (!isState<O>(given)) {
      throw new AnnealError(
        'ERR_VALUE',
        `${kind}: expected the state that stateDict() of an optimizer gives; got ${shown(given)}`,
      )
    }
    const { state } = given
    const [parameters, groups] = [this.parameters().length, this.groups.length]
    if (state.kind !== kind || state.groups.length !== groups || state.steps.length !== parameters) {
      throw new AnnealError(
        'ERR_VALUE',
        `${kind}: the state is of ${state.kind} with ${state.steps.length} parameters in ${state.groups.length} groups; expected ${kind} with ${parameters} in ${groups}`,
      )
    }
    return state
  }

  /** The states of a parameter after as many updates: as `saved` gives them, or as they start; undefined if there are none. */
  #statesAt(
    step: number,
    parameter: Parameter,
    settings: O,
    saved: (name: string, start: Tensor) => Tensor,
  ): Record<string, Tensor> | undefined {
    const slot = this.#slots.get(parameter)
    if (step === 0 && !slot) return undefined
    const states = this.initialStates(parameter, settings)
    if (step > 0) for (const [name, start] of Object.entries(states)) states[name] = saved(name, start)
    // Captured graphs hold the states that there are: those that these settings do not use begin anew, too.
    for (const [name, state] of slot?.states ?? []) states[name] ??= zerosLike(state)
    return states
  }
}

/** One parameter of an update, its gradient and its states. */
export interface ParameterUpdate {
  parameter: Parameter
  grad: Tensor
  states: Map<string, Buffer>
}

function isOptions<O>(value: unknown): value is Partial<O> {
  return isPlainObject(value)
}

/** A copy of the settings of a group. */
function settingsOf<O extends BaseOptions>({ params: _, ...settings }: O & { params: Parameter[] }): O {
  return copied(settings) as unknown as O
}

/** Gives a parameter's states values, each in place where it is there already. */
function setStates({ states }: Slot, { device }: Parameter, values: Readonly<Record<string, Tensor>>): void {
  for (const [name, value] of Object.entries(values)) {
    const known = states.get(name)
    if (known) known.assign(value)
    else states.set(name, new Buffer(value.to(device)))
  }
}

function isState<O>(given: unknown): given is { tensors: Record<string, Tensor>; state: Saved<O> } {
  const { tensors, state } = (given ?? {}) as Partial<OptimizerState>
  const { steps, updates, groups } = (state ?? {}) as Partial<Saved<O>>
  const isCount = (value: unknown) => wholeFrom(0).holds(value)
  const counted = Array.isArray(steps) && steps.every(isCount) && isCount(updates)
  return counted && Array.isArray(groups) && typeof tensors === 'object' && tensors !== null
}

/** The tensor of this name, in the shape and dtype of `like`. */
function savedState(owner: string, tensors: Readonly<Record<string, Tensor>>, name: string, like: Tensor): Tensor {
  const value = tensors[name]
  if (!(value instanceof Tensor)) throw new AnnealError('ERR_VALUE', `${owner}: the state has no tensor '${name}'`)
  if (`${value.shape}` !== `${like.shape}`) {
    throw new AnnealError(
      'ERR_SHAPE',
      `${owner}: the state's tensor '${name}' must be of shape [${like.shape}]; got [${value.shape}]`,
    )
  }
  return value.dtype === like.dtype ? value : value.cast(like.dtype)
}
