import type { Plain } from '../io/json'
import type { Module } from '../nn/module'
import type { History } from './history'
import type { Logs } from './progress'

/** What callbacks see of a fit, and what they may do to it. */
export interface Training {
  readonly model: Module
  readonly history: History
  /** Updates made so far. */
  readonly step: number
  readonly epoch: number
  /** Values by name that the optimizer goes by now. */
  readonly learningRate: number
  /** Ends the fit after this epoch. */
  stop(reason: string): void
  /** Saves everything that `resume` needs. */
  save(folder: string): Promise<void>
}

/** Functions called at moments of a fit, each awaited. */
export interface Callback {
  fitStart?(training: Training): void | Promise<void>
  epochStart?(training: Training): void | Promise<void>
  /** After each update, with the running values; `logs` lags a few steps behind, since nothing waits for values. */
  stepEnd?(training: Training, logs: Logs): void | Promise<void>
  epochEnd?(training: Training, logs: Logs): void | Promise<void>
  fitEnd?(training: Training): void | Promise<void>
  /** State that a resumed fit needs; saved with checkpoints. */
  state?(): Plain
  restore?(state: Plain): void
}
