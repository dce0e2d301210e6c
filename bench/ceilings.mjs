// What this machine can do at most, measured by Anneal itself: products and copies.
import { measure } from './measure.mjs'
import { peersFor } from './peers.mjs'

const probes = {
  flops: { name: 'matmul2048', work: 2 * 2048 * 768 * 3072 },
  bandwidth: { name: 'copy', work: 2 * 2 ** 28 },
}

/** { flops, bandwidth (bytes read and written) } a second, each the best of some samples. */
export async function ceilings(environment) {
  const best = {}
  for (const [what, { name, work }] of Object.entries(probes)) {
    const workload = { name }
    const { anneal } = await measure(peersFor(['anneal'], workload, environment), workload, { repeats: 5 })
    best[what] = work / anneal.minimum
  }
  return best
}
