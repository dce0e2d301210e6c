import { AnnealError } from '../errors'
import type { Plain } from '../io/json'
import type { Schedule } from './schedule'

/** The part of `a` to `b` at `t`, from 0 to 1, along half a cosine. */
const cosine = (a: number, b: number, t: number): number => b + ((a - b) * (1 + Math.cos(Math.PI * t))) / 2

function positive(name: string, value: number): number {
  if (!(value > 0)) throw new AnnealError('ERR_VALUE', `schedule: ${name} must be more than 0; got ${value}`)
  return value
}

/** Multiplies by `gamma` every `stepSize` epochs. */
export class StepSchedule implements Schedule {
  constructor(
    readonly stepSize: number,
    readonly gamma = 0.1,
  ) {
    positive('stepSize', stepSize)
  }

  factor(_step: number, epoch: number): number {
    return this.gamma ** Math.floor(epoch / this.stepSize)
  }
}

/** Multiplies by `gamma` at each of the given epochs. */
export class MultiStepSchedule implements Schedule {
  constructor(
    readonly milestones: readonly number[],
    readonly gamma = 0.1,
  ) {}

  factor(_step: number, epoch: number): number {
    return this.gamma ** this.milestones.filter(m => epoch >= m).length
  }
}

/** Multiplies by `gamma` every epoch. */
export class ExponentialSchedule implements Schedule {
  constructor(readonly gamma: number) {}

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
  /** How much longer each cycle is than the one before. Default: 1. */
  growth?: number
}

/** Half a cosine from 1 down, after a linear warm-up, with restarts if wanted. Counted in updates. */
export class CosineSchedule implements Schedule {
  constructor(readonly options: CosineOptions) {
    positive('steps', options.steps)
    positive('growth', options.growth ?? 1)
  }

  factor(step: number): number {
    const { steps, warmUp = 0, final = 0, restarts = false, growth = 1 } = this.options
    if (step < warmUp) return (step + 1) / warmUp
    let at = step - warmUp
    let length = steps
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

/** One cycle up and down again (Smith & Topin, 2018) in PyTorch's cosine form; the optimizer's rate is the highest. */
export class OneCycleSchedule implements Schedule {
  constructor(readonly options: OneCycleOptions) {
    positive('steps', options.steps)
  }

  factor(step: number): number {
    const { steps, rising = 0.3, initialDivisor = 25, finalDivisor = 1e4 } = this.options
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
    positive('steps', steps)
  }

  factor(step: number): number {
    return this.final + (1 - this.final) * (1 - Math.min(step, this.steps) / this.steps) ** this.power
  }
}

/** Linear warm-up over `steps` updates in front of another schedule, whose steps begin after it. */
export class WarmUpSchedule implements Schedule {
  constructor(
    readonly steps: number,
    readonly then?: Schedule,
  ) {}

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

/** Reduces the rate when a value has stopped improving. */
export class PlateauSchedule implements Schedule {
  #factor = 1
  #best: number | undefined
  #bad = 0
  #cooling = 0

  constructor(readonly options: PlateauOptions = {}) {}

  factor(): number {
    return this.#factor
  }

  epochEnd(logs: Readonly<Record<string, number>>): void {
    const { monitor = 'valLoss', gamma = 0.1, patience = 10, coolDown = 0, min = 0 } = this.options
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
    const { mode = 'min', threshold = 1e-4 } = this.options
    if (this.#best === undefined) return true
    return mode === 'min' ? value < this.#best * (1 - threshold) : value > this.#best * (1 + threshold)
  }

  state(): Plain {
    return { factor: this.#factor, best: this.#best ?? null, bad: this.#bad, cooling: this.#cooling }
  }

  restore(state: Plain): void {
    const saved = state as { factor: number; best: number | null; bad: number; cooling: number }
    this.#factor = saved.factor
    this.#best = saved.best ?? undefined
    this.#bad = saved.bad
    this.#cooling = saved.cooling
  }
}
