// What a JavaScript peer's process does: reads a request per line, {"workload", "iterations"}, and answers with the seconds
// that the iterations took, completion included, and the loss of the first step, as {"seconds", "check"}.
import { createInterface } from 'node:readline'

/** @param {object} about @param {Record<string, () => Promise<(iterations: number) => Promise<number>>>} workloads */
export async function serve(about, workloads) {
  const prepared = new Map()
  const answer = object => process.stdout.write(`${JSON.stringify(object)}\n`)
  answer({ ready: about })
  for await (const line of createInterface({ input: process.stdin })) {
    const { workload, iterations } = JSON.parse(line)
    try {
      if (!workloads[workload]) throw new Error('not available')
      if (!prepared.has(workload)) prepared.set(workload, await workloads[workload]())
      const run = prepared.get(workload)
      const start = process.hrtime.bigint()
      const check = await run(iterations)
      answer({ seconds: Number(process.hrtime.bigint() - start) / 1e9, check })
    } catch (error) {
      answer({ error: String(error?.message ?? error) })
    }
  }
}

/** Values by the formula that all peers know: ((i · 7919 + number · 104729) mod 1000 / 500 - 1) · bound. */
export function formula(size, number, bound) {
  return Float32Array.from({ length: size }, (_, i) => (((i * 7919 + number * 104729) % 1000) / 500 - 1) * bound)
}
