import type { Meters } from './meter'
import { createProgress, type Logs, type ProgressOptions } from './progress'

// Milliseconds between two states of the display, and between two looks at metrics, which the pipeline waits for.
const statesEvery = 50
const metricsEvery = 250

/** The progress display of a fit. */
export interface Display {
  epochStart(epoch: number): void
  /** After batch `index` of the epoch. */
  batch(index: number, logs: Logs, examples: number, meters: Meters): void | Promise<void>
  epochEnd(epoch: number, logs: Logs): void
  close(): void
}

/** Passes on to a progress display only as much as eyes can follow. */
export function createDisplay(options: ProgressOptions): Display {
  const progress = createProgress(options)
  const isLive = (options.stream ?? process.stderr).isTTY === true
  let waiting: { index: number; examples: number } | undefined
  let shown = 0
  let measured = 0
  let metrics: Logs = {}
  const flush = (logs: Logs) => {
    if (waiting) progress.step(waiting.index, logs, waiting.examples)
    waiting = undefined
  }
  return {
    epochStart: epoch => {
      progress.epochStart(epoch)
      metrics = {}
      measured = performance.now()
    },
    batch: (index, logs, examples, meters) => {
      waiting = { index, examples: examples + (waiting?.examples ?? 0) }
      if (!isLive) return
      const now = performance.now()
      if (now - shown < statesEvery) return
      shown = now
      flush({ ...logs, ...metrics })
      if (now - measured < metricsEvery || meters.metrics.length === 0) return
      measured = now
      return meters.values({ quick: true }).then(values => {
        metrics = values
      })
    },
    epochEnd: (epoch, logs) => {
      flush(logs)
      progress.epochEnd(epoch, logs)
    },
    close: () => progress.stop(),
  }
}
