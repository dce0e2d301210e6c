import type { Plain } from '../io/json'
import type { Module } from '../nn/module'
import type { Tensor } from '../tensor'
import type { History } from './history'
import type { Logs } from './progress'

/** What callbacks see of a fit, and what they may do to it. */
export interface Training {
  readonly model: Module
  readonly history: History
  /** Updates made so far. */
  readonly step: number
  readonly epoch: number
  /** The learning rate that the optimizer (its first group) goes by now. */
  readonly learningRate: number
  /** Ends the fit after this epoch. */
  stop(reason: string): void
  /** Saves everything that `resume` needs. */
  save(folder: string): Promise<void>
}

/** Functions called at moments of a fit, each awaited before the fit goes on, in the order of the list. */
export interface Callback {
  /** After a resume, before the first epoch. */
  fitStart?(training: Training): void | Promise<void>
  /** The model is in training mode; what is changed about that here, such as a frozen batch norm, stands for the epoch. */
  epochStart?(training: Training): void | Promise<void>
  /** After each update. `logs` has the epoch's losses so far; they lag some steps behind, since nothing waits for values. */
  stepEnd?(training: Training, logs: Logs): void | Promise<void>
  /** After the validation, with all values of the epoch; `training.epoch` is still that of the epoch. */
  epochEnd?(training: Training, logs: Logs): void | Promise<void>
  /** After `epochEnd` of all callbacks: the place to save, for `state` of each now holds what it noted of the epoch. */
  epochDone?(training: Training): void | Promise<void>
  /** When all epochs are done; not when the fit fails or is aborted. */
  fitEnd?(training: Training): void | Promise<void>
  /** At the very end in any case, failure included: the place to close files. */
  close?(): void | Promise<void>
  /** State that a resumed fit needs; saved with checkpoints, and told apart by the callback's class. */
  state?(): Plain
  /** Tensors that belong to it. */
  tensors?(): Readonly<Record<string, Tensor>>
  /** Continues from what `state` and `tensors` gave. */
  restore?(state: Plain, tensors: Readonly<Record<string, Tensor>>): void
  /** Whether it is called after all others. */
  readonly last?: boolean
}
