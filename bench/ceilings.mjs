// What this machine can do at most, measured by Anneal itself: products and copies.
import { measure } from './measure.mjs'
import { peersFor } from './peers.mjs'

const product = 2 * 2048 * 768 * 3072
const probes = {
  flops: { name: 'matmul2048', work: product },
  flops16: { name: 'matmul2048bfloat16', work: product },
  bandwidth: { name: 'copy', work: 2 * 2 ** 28 },
}

/** { flops (in float32), flops16 (in bfloat16), bandwidth (bytes read and written) } a second, each the best of some samples. */
export async function ceilings(environment) {
  const best = {}
  for (const [what, { name, work }] of Object.entries(probes)) {
    const workload = { name }
    const { anneal } = await measure(peersFor(['anneal'], workload, environment), workload, { repeats: 5 })
    best[what] = work / anneal.minimum
  }
  return best
}
