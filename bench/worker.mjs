// What a JavaScript peer's process does: reads a request per line, {"workload", "iterations", "options"}, and answers with the
// seconds that the iterations took, completion included, what they computed at first, and the process's peak memory since the
// workload was prepared, in bytes, as {"seconds", "check", "peak"}.
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

/** The most memory that this process has held since `resetPeak`; undefined where the system does not tell. */
function peak() {
  try {
    return Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024
  } catch {
    return undefined
  }
}

function resetPeak() {
  globalThis.gc?.()
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    // Not Linux, or not allowed: the peak then counts from the start.
  }
}

/**
 * A function that is given what each iteration computes, and waits for that of `count` iterations before; `rest` waits for all.
 * The device so has work while the host prepares more, and memory is bounded.
 */
export function ahead(count) {
  const pending = []
  const wait = async result => {
    const ready = result.ready()
    ready.catch(() => {}) // awaited later
    pending.push(ready)
    if (pending.length > count) await pending.shift()
  }
  return { wait, rest: () => Promise.all(pending.splice(0)) }
}

/** The most memory of the process. Peers that compute elsewhere measure that memory instead. */
const ofProcess = { peak, resetPeak }

/**
 * @param {object} about
 * @param {(name: string, options: object) => Promise<((iterations: number) => Promise<unknown>) | undefined>} prepare
 *   gives a function that runs a workload; undefined for one that this peer cannot do
 */
export async function serve(about, prepare, memory = ofProcess) {
  const prepared = new Map()
  const answer = object => process.stdout.write(`${JSON.stringify(object)}\n`)
  answer({ ready: about })
  for await (const line of createInterface({ input: process.stdin })) {
    const { workload, iterations, options } = JSON.parse(line)
    try {
      if (!prepared.has(workload)) {
        prepared.clear() // one at a time: they may be large
        prepared.set(workload, await prepare(workload, options))
        memory.resetPeak()
      }
      const run = prepared.get(workload)
      if (!run) throw new Error('not available')
      const start = process.hrtime.bigint()
      const check = await run(iterations)
      answer({ seconds: Number(process.hrtime.bigint() - start) / 1e9, check, peak: memory.peak() })
    } catch (error) {
      answer({ error: String(error?.message ?? error) })
    }
  }
}
