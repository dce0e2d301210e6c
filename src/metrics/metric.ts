import type { Plain } from '../io/json'
import type { Tensor } from '../tensor'

/** A figure of merit over many batches. Nothing is awaited while batches come; `result` waits. */
export interface Metric {
  /** The key in logs and history. */
  readonly name: string
  /** Forgets all batches. */
  reset(): void
  /** Takes in one batch: the model's output (logits) and the targets, examples along the first axis. */
  update(output: Tensor, target: Tensor): void
  /** The value over all batches since the reset. */
  result(): Promise<number>
  /** What {@link restore} takes to continue exactly. */
  state(): Promise<Plain>
  /** Continues from what {@link state} gave. */
  restore(state: Plain): void
  /** A metric with the same settings and no batches. Each fit and each evaluation works on its own. */
  clone(): Metric
  /** Whether `result` takes long, so that a progress display is not to ask for it at every turn. */
  readonly costly?: boolean
}
