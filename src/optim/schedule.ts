import type { Plain } from '../io/json'

/** A learning rate over time, as a factor of the optimizer's own. Steps and epochs count from 0. */
export interface Schedule {
  /** The factor for update `step` in `epoch`. */
  factor(step: number, epoch: number): number
  /** Tells a schedule that reacts to results how an epoch went. */
  epochEnd?(logs: Readonly<Record<string, number>>): void
  /** State of a schedule that has any. */
  state?(): Plain
  /** Continues from what `state` gave. */
  restore?(state: Plain): void
}
