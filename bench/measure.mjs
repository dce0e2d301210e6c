// Interleaved timing of one workload on several peers.
import { setTimeout as sleep } from 'node:timers/promises'

export const median = values => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * Warms a peer up and finds how many iterations take a sample's time: { iterations, check, first, times } with the seconds of
 * the very first iteration, or { error } where the peer cannot do the workload. `check` has what the first two steps gave.
 */
async function calibrate(peer, workload, sampleSeconds, patience) {
  const first = await peer.ask(workload, 1, patience)
  if (first.error) return first
  const second = await peer.ask(workload, 1, patience)
  if (second.error) return second
  const checks = [first.check, workload.train ? second.check : undefined].flat()
  const check = checks.filter(value => typeof value === 'number')
  let iterations = 1
  // On a GPU the first steps choose algorithms, and graphs are recorded.
  let last = workload.device ? await peer.ask(workload, 2, patience) : second
  while (!(last.seconds >= sampleSeconds)) {
    if (last.error) return last
    iterations = Math.ceil(
      iterations * Math.min(10, Math.max(1.2, (1.2 * sampleSeconds) / Math.max(last.seconds, 1e-6))),
    )
    last = await peer.ask(workload, iterations, patience)
  }
  return { iterations, check, choice: first.choice, first: first.seconds, times: [] }
}

/** Some samples; a peer that has just been started is warmed up by an iteration, or by some on a GPU, as in `calibrate`. */
async function sample(peer, workload, result, count, patience) {
  if (!peer.running) await peer.ask(workload, workload.device ? 4 : 1, patience)
  await sleep(20) // until the threads of the one before sleep
  for (let i = 0; i < count && !result.error; i++) {
    const { seconds, peak, error } = await peer.ask(workload, result.iterations, patience)
    if (error) {
      result.error = error
      return
    }
    result.times.push(seconds / result.iterations)
    result.peak = Math.max(peak ?? 0, result.peak ?? 0) || undefined
  }
}

/**
 * Times `workload` on every peer in turn until each has `repeats` samples, so that a slow spell of the machine hits all of
 * them; stops earlier, after a whole round, when `budget` seconds are over. With `alone` only one peer's process lives at a
 * time, for `perTurn` samples, because its start may take long; with `keep` they live on.
 * Gives for each peer's id { iterations, check, first, times (seconds per iteration), median, minimum, peak } or { error }.
 */
export async function measure(peers, workload, options) {
  const {
    repeats,
    budget = Infinity,
    patience,
    alone = false,
    perTurn = 2,
    keep = false,
    sampleSeconds = 0.3,
  } = options
  const results = {}
  const turn = async (peer, work) => {
    await work()
    if (alone) await peer.end()
  }
  const count = alone ? perTurn : 1
  for (const peer of peers) {
    await turn(peer, async () => {
      results[peer.id] = await calibrate(peer, workload, sampleSeconds, patience)
      if (alone && !results[peer.id].error) await sample(peer, workload, results[peer.id], count, patience)
    })
  }
  const able = () => peers.filter(peer => !results[peer.id].error)
  const end = performance.now() + budget * 1000
  for (let taken = alone ? count : 0; taken < repeats && (taken === 0 || performance.now() < end); taken += count) {
    for (const peer of able()) await turn(peer, () => sample(peer, workload, results[peer.id], count, patience))
  }
  if (!keep) for (const peer of peers) await peer.end()
  for (const [id, result] of Object.entries(results)) {
    if (result.error) results[id] = { error: result.error, over: result.over }
    else Object.assign(result, { median: median(result.times), minimum: Math.min(...result.times) })
  }
  return results
}

/** How many times faster `a` is than `b`, pair by pair; undefined unless both ran. */
export function speedup(a, b) {
  if (!a?.times || !b?.times) return undefined
  return median(a.times.map((time, i) => b.times[i] / time))
}

/** The largest difference of what two peers computed at first, in parts of the largest value; undefined where unknown. */
export function difference(a, b) {
  if (!a?.check?.length || !b?.check?.length) return undefined
  const largest = Math.max(...b.check.map(Math.abs))
  return Math.max(...b.check.map((value, i) => Math.abs(value - a.check[i]))) / largest
}
