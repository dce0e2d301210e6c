import { AnnealError } from '../errors'
import type { Plain } from '../io/json'
import { above0, atLeast, below1, check, flag, type Rule, type Rules, settled, upTo1, wholeFrom } from './check'
import type { Schedule } from './schedule'

/** The part of `a` to `b` at `t`, from 0 to 1, along half a cosine. */
const cosine = (a: number, b: number, t: number): number => b + ((a - b) * (1 + Math.cos(Math.PI * t))) / 2

/** Multiplies by `gamma` every `stepSize` epochs. */
export class StepSchedule implements Schedule {
  constructor(
    readonly stepSize: number,
    readonly gamma = 0.1,
  ) {
    check('StepSchedule', { stepSize: atLeast(1), gamma: atLeast(0) }, this)
  }

  factor(_step: number, epoch: number): number {
    return this.gamma ** Math.floor(epoch / this.stepSize)
  }
}

const numbers: Rule = {
  expected: 'a list of numbers of 0 or more',
  holds: value => Array.isArray(value) && value.every(v => atLeast(0).holds(v)),
}

/** Multiplies by `gamma` at each of the given epochs. */
export class MultiStepSchedule implements Schedule {
  constructor(
    readonly milestones: readonly number[],
    readonly gamma = 0.1,
  ) {
    check('MultiStepSchedule', { milestones: numbers, gamma: atLeast(0) }, this)
  }

  factor(_step: number, epoch: number): number {
    return this.gamma ** this.milestones.filter(m => epoch >= m).length
  }
}

/** Multiplies by `gamma` every epoch. */
export class ExponentialSchedule implements Schedule {
  constructor(readonly gamma: number) {
    check('ExponentialSchedule', { gamma: atLeast(0) }, this)
  }

  factor(_step: number, epoch: number): number {
    return this.gamma ** epoch
  }
}

export interface CosineOptions {
  /** Updates in the decay: after warm-up, or in the first cycle. */
  steps: number
  /** Updates in which the factor grows from 0 first. Default: 0. */
  warmUp?: number
  /** The factor at the end. Default: 0. */
  final?: number
  /** Start anew after each cycle (Loshchilov & Hutter, 2017). Default: false: stay at the end. */
  restarts?: boolean
  /** How many times as long each cycle is as the one before, 1 or more. Default: 1. */
  growth?: number
}

const cosineRules: Rules = {
  steps: atLeast(1),
  warmUp: wholeFrom(0),
  final: atLeast(0),
  restarts: flag,
  growth: atLeast(1),
}

/** Half a cosine from 1 down, after a linear warm-up, with restarts if wanted. Counted in updates. */
export class CosineSchedule implements Schedule {
  readonly options: Readonly<Required<CosineOptions>>

  constructor(options: CosineOptions) {
    const defaults = { steps: undefined, warmUp: 0, final: 0, restarts: false, growth: 1 }
    this.options = settled<Required<CosineOptions>>('CosineSchedule', cosineRules, defaults, options)
  }

  factor(step: number): number {
    const { steps, warmUp, final, restarts, growth } = this.options
    if (step < warmUp) return (step + 1) / warmUp
    let at = step - warmUp
    let length = steps
    if (restarts && growth === 1) at %= length
    while (restarts && at >= length) {
      at -= length
      length *= growth
    }
    return cosine(1, final, Math.min(at / length, 1))
  }
}

export interface OneCycleOptions {
  /** Updates in all. */
  steps: number
  /** The part of them in which the rate grows. Default: 0.3. */
  rising?: number
  /** By how much the rate is smaller at the start. Default: 25. */
  initialDivisor?: number
  /** By how much it is smaller at the end than at the start. Default: 1e4. */
  finalDivisor?: number
}

const oneCycleRules: Rules = { steps: atLeast(1), rising: upTo1, initialDivisor: above0, finalDivisor: above0 }

/** One cycle up and down again (Smith & Topin, 2018) in PyTorch's cosine form; the optimizer's rate is the highest. */
export class OneCycleSchedule implements Schedule {
  readonly options: Readonly<Required<OneCycleOptions>>

  constructor(options: OneCycleOptions) {
    const defaults = { steps: undefined, rising: 0.3, initialDivisor: 25, finalDivisor: 1e4 }
    this.options = settled<Required<OneCycleOptions>>('OneCycleSchedule', oneCycleRules, defaults, options)
  }

  factor(step: number): number {
    const { steps, rising, initialDivisor, finalDivisor } = this.options
    const top = rising * steps - 1
    const start = 1 / initialDivisor
    if (step <= top) return cosine(start, 1, top > 0 ? step / top : 1)
    return cosine(1, start / finalDivisor, Math.min((step - top) / (steps - 1 - top), 1))
  }
}

/** From 1 to `final` along a power of the part that remains, over `steps` updates. */
export class PolynomialSchedule implements Schedule {
  constructor(
    readonly steps: number,
    readonly power = 1,
    readonly final = 0,
  ) {
    check('PolynomialSchedule', { steps: atLeast(1), power: atLeast(0), final: atLeast(0) }, this)
  }

  factor(step: number): number {
    return this.final + (1 - this.final) * (1 - Math.min(step, this.steps) / this.steps) ** this.power
  }
}

const schedule: Rule = {
  expected: 'a schedule',
  holds: value => value === undefined || typeof (value as Partial<Schedule> | null)?.factor === 'function',
}

/** Linear warm-up over `steps` updates in front of another schedule, whose steps begin after it. */
export class WarmUpSchedule implements Schedule {
  constructor(
    readonly steps: number,
    readonly then?: Schedule,
  ) {
    // biome-ignore lint/suspicious/noThenProperty: the name of the option
    check('WarmUpSchedule', { steps: wholeFrom(0), then: schedule }, this)
  }

  factor(step: number, epoch: number): number {
    if (step < this.steps) return (step + 1) / this.steps
    return this.then?.factor(step - this.steps, epoch) ?? 1
  }

  epochEnd(logs: Readonly<Record<string, number>>): void {
    this.then?.epochEnd?.(logs)
  }

  state(): Plain {
    return this.then?.state?.() ?? null
  }

  restore(state: Plain): void {
    if (state !== null) this.then?.restore?.(state)
  }
}

export interface PlateauOptions {
  /** The value to go by. Default: 'valLoss'. */
  monitor?: string
  /** Whether less or more is better. Default: 'min'. */
  mode?: 'min' | 'max'
  /** By how much the rate is multiplied. Default: 0.1. */
  gamma?: number
  /** Epochs without improvement that are borne. Default: 10. */
  patience?: number
  /** The least relative change that counts as an improvement. Default: 1e-4. */
  threshold?: number
  /** Epochs after a reduction in which nothing is counted. Default: 0. */
  coolDown?: number
  /** The smallest factor. Default: 0. */
  min?: number
}

const plateauRules: Rules = {
  monitor: { expected: 'a name', holds: value => typeof value === 'string' },
  mode: { expected: "'min' or 'max'", holds: value => value === 'min' || value === 'max' },
  gamma: below1,
  patience: wholeFrom(0),
  threshold: atLeast(0),
  coolDown: wholeFrom(0),
  min: upTo1,
}

const plateauDefaults: Required<PlateauOptions> = {
  monitor: 'valLoss',
  mode: 'min',
  gamma: 0.1,
  patience: 10,
  threshold: 1e-4,
  coolDown: 0,
  min: 0,
}

const plateauState: Rules = {
  factor: upTo1,
  best: { expected: 'a number or null', holds: value => value === null || typeof value === 'number' },
  bad: wholeFrom(0),
  cooling: wholeFrom(0),
}

/** Reduces the rate when a value has stopped improving. */
export class PlateauSchedule implements Schedule {
  #factor = 1
  #best: number | undefined
  #bad = 0
  #cooling = 0

  readonly options: Readonly<Required<PlateauOptions>>

  constructor(options: PlateauOptions = {}) {
    this.options = settled('PlateauSchedule', plateauRules, plateauDefaults, options)
  }

  factor(): number {
    return this.#factor
  }

  epochEnd(logs: Readonly<Record<string, number>>): void {
    const { monitor, gamma, patience, coolDown, min } = this.options
    const value = logs[monitor]
    if (value === undefined) {
      throw new AnnealError(
        'ERR_VALUE',
        `schedule: there is no '${monitor}' to go by; there are ${Object.keys(logs).join(', ')}`,
      )
    }
    const better = this.#improves(value)
    if (better) this.#best = value
    this.#bad = better ? 0 : this.#bad + 1
    if (this.#cooling > 0) {
      this.#cooling--
      this.#bad = 0
    }
    if (this.#bad > patience) {
      this.#factor = Math.max(this.#factor * gamma, min)
      this.#cooling = coolDown
      this.#bad = 0
    }
  }

  #improves(value: number): boolean {
    const { mode, threshold } = this.options
    if (this.#best === undefined) return !Number.isNaN(value)
    return mode === 'min' ? value < this.#best * (1 - threshold) : value > this.#best * (1 + threshold)
  }

  state(): Plain {
    return { factor: this.#factor, best: this.#best ?? null, bad: this.#bad, cooling: this.#cooling }
  }

  restore(state: Plain): void {
    const saved = (state ?? {}) as { factor: number; best: number | null; bad: number; cooling: number }
    check('PlateauSchedule', plateauState, saved, Object.keys(plateauState))
    this.#factor = saved.factor
    this.#best = saved.best ?? undefined
    this.#bad = saved.bad
    this.#cooling = saved.cooling
  }
}
