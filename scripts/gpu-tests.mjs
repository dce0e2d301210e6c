// node scripts/gpu-tests.mjs --out FILE --folder FOLDER [--seconds 560] [--jobs N] [--stall 75] [WORD…]
// Runs the tests on the device of ANNEAL_TEST_DEVICE, those of paths with one of the words or all that compute, each file in a process of its own and
// several at a time. A process that crashes, does not go on for `stall` seconds, or whose GPU is unusable after a test is ended; that test has
// failed, and the rest of the file runs in a new process. FILE has what is known after every file, also if time runs out; the
// journals and outputs of the processes are left in FOLDER. Ends with failures by message.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values: options, positionals: words } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: 'string' },
    folder: { type: 'string' },
    seconds: { type: 'string', default: '560' },
    jobs: { type: 'string', default: String(Math.min(12, Math.max(2, availableParallelism() - 4))) },
    stall: { type: 'string', default: '75' },
  },
})
const begin = performance.now()
const deadline = begin + Number(options.seconds) * 1000
const now = () => performance.now()

// What tells most comes first. What has no part here is that of the emulator, of the package and of a machine without a GPU.
const order = 'cuda/ core/ registry parity ops/flash compile/ ops/ nn/ optim/ train/ fuzz/ metrics/ io/ data/'.split(
  ' ',
)
const foreign = /^(package|load|report)\/|^cuda\/(blas|emulator|late|nvrtc)\./
/** Long files of many tests are shared by several processes. */
const shares = { 'registry.test.ts': 12, 'parity/parity.test.ts': 5 }
/** A new process for what is left of a file, at most so often. */
const mostRounds = 6

function jobs() {
  const rank = file => order.findIndex(start => file.startsWith(start))
  const files = readdirSync('test', { recursive: true })
    .filter(file => file.endsWith('.test.ts') && !foreign.test(file) && rank(file) >= 0)
    .filter(file => words.length === 0 || words.some(word => `test/${file}`.includes(word)))
    .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b))
  return files.flatMap(file => {
    const count = shares[file] ?? 1
    return Array.from({ length: count }, (_, i) => {
      const name = file.replace(/\.test\.ts$/, '') + (count > 1 ? ` ${i + 1} of ${count}` : '')
      const stem = join(options.folder, name.replace(/\W+/g, '-'))
      return { file, name, share: `${i}/${count}`, journal: `${stem}.jsonl`, log: `${stem}.log` }
    })
  })
}

const eventsOf = ({ journal }) => {
  const lines = existsSync(journal) ? readFileSync(journal, 'utf8').split('\n').filter(Boolean) : []
  return lines.map(line => JSON.parse(line))
}

/** The end of what a process has said, without Vitest's own lines. */
const tailOf = ({ log }) =>
  readFileSync(log, 'utf8')
    .split('\n')
    .filter(line => !/^\s*($|❯|⎯|·|RUN|Test Files|Tests|Errors|Start at|Duration)/.test(line))
    .join('\n')
    .slice(-500)

/** Runs what is left of a file: how its process ended. */
function vitest(job) {
  const output = openSync(job.log, 'a')
  const environment = { ...process.env, ANNEAL_TEST_JOURNAL: job.journal, ANNEAL_TEST_SHARE: job.share, NO_COLOR: '1' }
  // The registry would have a kernel compiled for every case of every op.
  if (job.file === 'registry.test.ts') environment.ANNEAL_CUDA_FUSION ??= '0'
  const limit = Math.max(60, Number(options.stall) - 15) * 1000
  const args = [
    'run',
    `test/${job.file}`,
    '--reporter=dot',
    '--cache=false',
    `--testTimeout=${limit}`,
    `--hookTimeout=${limit}`,
  ]
  const child = spawn(process.execPath, ['node_modules/vitest/vitest.mjs', ...args], {
    env: environment,
    detached: true, // its workers end with it
    stdio: ['ignore', output, output],
  })
  const started = Date.now()
  let ended
  const watch = setInterval(() => {
    const last = existsSync(job.journal) ? statSync(job.journal).mtimeMs : started
    if (now() > deadline) ended = 'time ran out'
    else if (Date.now() - Math.max(started, last) > Number(options.stall) * 1000)
      ended = `nothing for ${options.stall} s`
    if (ended) process.kill(-child.pid, 'SIGKILL')
  }, 500)
  return new Promise(resolve => {
    child.once('close', (code, signal) => {
      clearInterval(watch)
      resolve({ ended, failed: code !== 0, how: signal ?? `status ${code}` })
    })
  })
}

/** The test that had begun but not ended. */
function openTest(events) {
  const ended = new Set(events.filter(({ state }) => state).map(({ test }) => test))
  return events.findLast(({ begun, test }) => begun && !ended.has(test))?.test
}

/** Runs a file to its end, in new processes where one has become useless; gives what is known of it. */
async function run(job) {
  rmSync(job.journal, { force: true })
  rmSync(job.log, { force: true })
  const start = now()
  let problem
  for (let round = 0; round < mostRounds; round++) {
    const before = eventsOf(job).length
    const { ended, failed, how } = await vitest(job)
    const events = eventsOf(job)
    const open = openTest(events)
    if (open !== undefined) {
      const message = ended ? `did not end: ${ended}` : `the process ended (${how}): ${tailOf(job)}`
      writeFileSync(job.journal, `${JSON.stringify({ test: open, state: 'failed', message })}\n`, { flag: 'a' })
    }
    const again = open !== undefined || events.at(-1)?.poisoned
    const seen = events.slice(before).some(({ state }) => state === 'failed')
    if (!again && (ended || (failed && !seen))) problem = ended ?? `${how}: ${tailOf(job)}`
    if (!again || now() > deadline - 5000) break
  }
  const ends = eventsOf(job).filter(({ state }) => state)
  const count = state => ends.filter(end => end.state === state).length
  const failures = ends.flatMap(({ test, state, message, poisoned }) =>
    state === 'failed' ? [{ test: `${job.name}: ${test}`, message: message?.slice(0, 600), poisoned }] : [],
  )
  if (problem) failures.push({ test: job.name, message: problem })
  return { passed: count('passed'), failed: failures.length, seconds: Math.round((now() - start) / 1000), failures }
}

const all = jobs()
const found = {}
const waiting = [...all]

/** What the library has warned of, how often. */
function warned() {
  const counts = {}
  for (const { log } of all.filter(({ name }) => found[name])) {
    for (const [line] of readFileSync(log, 'utf8').matchAll(/^(anneal: |.*Warning: ).*/gm)) {
      const warning = line.replace(/\(node:\d+\) /, '').slice(0, 300)
      counts[warning] = (counts[warning] ?? 0) + 1
    }
  }
  return counts
}

function write() {
  const reports = Object.values(found)
  const sum = key => reports.reduce((total, report) => total + report[key], 0)
  const known = {
    passed: sum('passed'),
    failed: sum('failed'),
    notRun: all.map(({ name }) => name).filter(name => !found[name]),
    warnings: warned(),
    failures: reports.flatMap(report => report.failures),
  }
  const files = Object.fromEntries(Object.entries(found).map(([name, { failures, ...rest }]) => [name, rest]))
  writeFileSync(options.out, `${JSON.stringify({ ...known, files }, null, 1)}\n`)
  return known
}

async function worker() {
  while (waiting.length && now() < deadline - 5000) {
    const job = waiting.shift()
    found[job.name] = await run(job)
    const { passed, failed, seconds } = found[job.name]
    console.log(`${job.name}: ${passed} passed, ${failed} failed, ${seconds} s`)
    write()
  }
}

mkdirSync(options.folder, { recursive: true })
write()
await Promise.all(Array.from({ length: Number(options.jobs) }, worker))

/** Failures of the same message, whatever its numbers, most of them first. */
function alike(failures) {
  const groups = new Map()
  for (const { message = '', test, poisoned } of failures) {
    const line = message.trim().split('\n')[0].slice(0, 160) + (poisoned ? ' (the GPU was unusable afterwards)' : '')
    const key = line.replace(/[-\d.e+]*\d/g, '#')
    groups.set(key, { line, tests: [...(groups.get(key)?.tests ?? []), test] })
  }
  return [...groups.values()].sort((a, b) => b.tests.length - a.tests.length)
}

const { passed, failed, notRun, failures, warnings } = write()
for (const [warning, count] of Object.entries(warnings).slice(0, 10)) console.log(`${count} × ${warning}`)
const groups = alike(failures)
for (const { line, tests } of groups.slice(0, 20)) {
  console.log(`${tests.length} × ${line}\n    ${tests.slice(0, 3).join('; ').slice(0, 300)}`)
}
if (groups.length > 20) console.log(`and ${groups.length - 20} more kinds of failures`)
if (notRun.length) console.log(`not run for want of time: ${notRun.join(', ')}`)
console.log(`${passed} tests passed, ${failed} failed; ${Object.keys(found).length} of ${all.length} files ran`)
process.exitCode = failed || notRun.length || passed === 0 ? 1 : 0
