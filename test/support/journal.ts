// For scripts/gpu-tests.mjs: writes into a file when each test begins and how it ends, so that this is known even of a process that
// crashes or hangs. Tests that are in the file already are left out, and so are those of other shares.
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { ones } from 'anneal'
import { afterEach, beforeEach, type TestContext } from 'vitest'

const path = process.env.ANNEAL_TEST_JOURNAL!
const [share, shares] = (process.env.ANNEAL_TEST_SHARE ?? '0/1').split('/').map(Number) as [number, number]

const note = (event: object) => appendFileSync(path, `${JSON.stringify(event)}\n`)
const known = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : []
const left = new Set(known.filter(Boolean).map(line => JSON.parse(line).test as string))

/** The name with those of the suites around it. */
function nameOf({ name, suite }: { name: string; suite?: TestContext['task']['suite'] }): string {
  return suite ? `${nameOf(suite)} > ${name}` : name
}

/** Whether the GPU still computes: after some errors it does not, and nothing in this process will pass any more. */
async function usable(): Promise<boolean> {
  try {
    return (await ones([1]).add(1).data())[0] === 2
  } catch {
    return false
  }
}

let count = 0
let running: string | undefined

beforeEach(({ task, skip }) => {
  const test = nameOf(task)
  if (count++ % shares !== share || left.has(test)) skip()
  running = test
  note({ test, begun: true })
})

afterEach(async ({ task }) => {
  if (running === undefined) return
  const errors = task.result?.errors ?? []
  const message = errors[0]?.message
  const poisoned = errors.length > 0 && !(await usable())
  const skipped = (task.result as { pending?: boolean } | undefined)?.pending
  const state = errors.length ? 'failed' : skipped ? 'skipped' : 'passed'
  note({ test: running, state, message, poisoned })
  running = undefined
  if (poisoned) process.kill(process.pid, 'SIGKILL') // the others run in a process of their own
})
