// Interleaved timing of one workload on several peers.
import { setTimeout as sleep } from 'node:timers/promises'

const sampleSeconds = 0.3

export const median = values => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Warms a peer up and finds how many iterations take a sample's time; undefined where it cannot do the workload. */
async function calibrate(peer, workload) {
  const first = await peer.ask(workload, 1) // prepares, and gives the loss before any training
  if (first.error) return { error: first.error }
  let iterations = 1
  for (;;) {
    const { seconds, error } = await peer.ask(workload, iterations)
    if (error) return { error }
    if (seconds >= sampleSeconds) return { iterations, check: first.check, times: [] }
    iterations = Math.ceil(iterations * Math.min(10, Math.max(1.2, (1.2 * sampleSeconds) / Math.max(seconds, 1e-6))))
  }
}

/**
 * Times `workload` on every peer in turn, `repeats` times over, so that a slow spell of the machine hits all of them.
 * Gives for each peer's id { iterations, check, times (seconds per iteration), median, minimum } or { error }.
 */
export async function measure(peers, workload, repeats) {
  const results = {}
  for (const peer of peers) results[peer.id] = await calibrate(peer, workload)
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const peer of peers) {
      const result = results[peer.id]
      if (result.error) continue
      await sleep(20) // until the threads of the one before sleep
      const { seconds } = await peer.ask(workload, result.iterations)
      result.times.push(seconds / result.iterations)
    }
  }
  for (const result of Object.values(results)) {
    if (result.error) continue
    result.median = median(result.times)
    result.minimum = Math.min(...result.times)
  }
  return results
}

/** How many times faster `a` is than `b`, pair by pair; undefined unless both ran. */
export function speedup(a, b) {
  if (!a?.times || !b?.times) return undefined
  return median(a.times.map((time, i) => b.times[i] / time))
}

/** Throws when the first losses of two peers that start from the same weights differ. */
export function requireAgreement(workload, a, b) {
  if (a?.check == null || b?.check == null) return
  const difference = Math.abs(a.check - b.check) / Math.max(Math.abs(b.check), 1e-12)
  if (!(difference < 1e-3)) throw new Error(`${workload}: the first losses differ: ${a.check} and ${b.check}`)
}
