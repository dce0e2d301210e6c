// npm run bench -- ops [--only REGEXP] [--threads 1,4] [--repeats 5] [--worst 20] [--json FILE]
// Compares single ops with PyTorch ($PYTHON or python3), forward and backward, and lists the slowest first. --device cuda: those of
// cases/gpu.mjs, on the GPU. The file of --json is written anew after each.
import { writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { measure, speedup } from '../measure.mjs'
import { Peer } from '../peer.mjs'
import { textTable } from '../report.mjs'

const at = path => fileURLToPath(new URL(path, import.meta.url))
const sampleSeconds = 0.05

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    threads: { type: 'string', default: '1,4' },
    repeats: { type: 'string', default: '5' },
    worst: { type: 'string', default: 'Infinity' },
    device: { type: 'string' },
    json: { type: 'string' },
  },
})
if (options.device) process.env.BENCH_DEVICE = options.device
const { cases, workload } = await import('./cases.mjs')
const all = {}
const about = { date: new Date().toISOString().slice(0, 10), repeats: Number(options.repeats), peers: [] }
const keep = () => options.json && writeFileSync(options.json, `${JSON.stringify({ about, ...all }, null, 1)}\n`)
const patience = 100 // seconds: a peer that hangs does not keep the others waiting

const workloads = cases
  .flatMap(one => [{ one, name: workload(one, false) }, one.backward && { one, name: workload(one, true) }])
  .filter(found => found && new RegExp(options.only).test(found.name))

function start(threads) {
  const environment = { BENCH_THREADS: threads, OMP_NUM_THREADS: threads }
  return [
    new Peer('anneal', process.execPath, [at('anneal.mjs')], environment),
    new Peer('torch', process.env.PYTHON ?? 'python3', [at('pytorch.py'), JSON.stringify(cases)], environment),
  ]
}

/** An error or a difference between the results, in words; the checks are means of absolute values. */
function problem({ unequal, dtype }, { anneal, torch }) {
  if (anneal.error || torch.error) return anneal.error ? `Anneal: ${anneal.error}` : `PyTorch: ${torch.error}`
  const [[ours], [theirs]] = [anneal.check, torch.check]
  const tolerance = dtype === 'bfloat16' ? 1e-2 : 1e-3
  if (unequal || !(Math.abs(ours - theirs) > tolerance * Math.abs(theirs) + 1e-6)) return undefined
  return `the results differ: ${ours} and ${theirs}`
}

/** What a call of either side moves and computes in a second, where the case says how much that is. */
function rates({ bytes, flops }, backward, times) {
  if (backward) return {} // these count forward passes
  const of = (amount, unit) => amount && Object.fromEntries(times.map(([id, t]) => [id, amount / t / unit]))
  return { gigabytesPerSecond: of(bytes, 1e9), teraflops: of(flops, 1e12) }
}

/** What was measured of a workload; `problem` is an error, or a difference between the results. */
async function measured(peers, { one, name }) {
  const settings = { repeats: Number(options.repeats), sampleSeconds, keep: true, patience }
  const results = await measure(peers, { name }, settings)
  // After an error of the GPU a process computes nothing any more.
  for (const peer of peers) if (results[peer.id].error) await peer.end()
  const wrong = problem(one, results)
  if (wrong) process.stderr.write(`\n${name}: ${wrong}\n`)
  const { anneal, torch } = results
  const times = Object.entries(results).flatMap(([id, { minimum }]) => (minimum ? [[id, minimum]] : []))
  const more = rates(one, name !== one.name, times)
  const { choice } = torch // PyTorch's fastest way
  return {
    name,
    ...Object.fromEntries(times),
    ratio: speedup(torch, anneal),
    ...more,
    choice: choice ?? undefined,
    problem: wrong,
  }
}

/** How much of a copy's bandwidth the others of its dtype reach: copies are the fastest of either side. */
function compareWithCopies(found) {
  const copies = workloads.filter(({ one }) => one.copy)
  for (const { one, name } of copies) {
    const copy = Math.max(...Object.values(found.find(row => row.name === name)?.gigabytesPerSecond ?? {}))
    const dtypes = new Map(workloads.map(workload => [workload.name, workload.one.dtype]))
    for (const row of found) {
      const own = row.gigabytesPerSecond?.anneal
      if (own && copy > 0 && dtypes.get(row.name) === one.dtype) row.ofCopy = own / copy
    }
  }
}

async function compare(threads) {
  const peers = start(threads)
  const found = []
  all[threads] = found
  for (const [i, workload] of workloads.entries()) {
    found.push(await measured(peers, workload))
    compareWithCopies(found)
    about.peers = peers.flatMap(peer => peer.about ?? [])
    keep()
    if (process.stderr.isTTY) process.stderr.write(`\r${i + 1} of ${workloads.length}`)
  }
  process.stderr.write('\n')
  for (const peer of peers) await peer.end()
  found.sort((a, b) => (b.ratio ?? Infinity) - (a.ratio ?? Infinity))
  keep()
}

const micros = seconds => (seconds ? (seconds * 1e6).toFixed(1) : '–')
const rate = ({ gigabytesPerSecond, teraflops, ofCopy }) => {
  if (gigabytesPerSecond?.anneal) {
    const share = ofCopy ? `, ${(ofCopy * 100).toFixed(0)} % of a copy` : ''
    return `${gigabytesPerSecond.anneal.toFixed(0)} GB/s${share}`
  }
  return teraflops?.anneal ? `${teraflops.anneal.toFixed(1)} TFLOP/s` : ''
}

function print(threads) {
  const head = [`${threads} thread${threads === '1' ? '' : 's'}`, 'Anneal µs', 'PyTorch µs', 'Anneal / PyTorch', '', '']
  const rows = all[threads].map(r => [
    r.name,
    micros(r.anneal),
    micros(r.torch),
    r.ratio?.toFixed(2) ?? 'failed',
    rate(r),
    r.choice ?? '',
  ])
  process.stdout.write(`${textTable([head, ...rows.slice(0, Number(options.worst))]).join('\n')}\n\n`)
}

process.once('SIGTERM', () => {
  for (const threads of Object.keys(all)) print(threads)
  process.stdout.write('ended before all was measured\n')
  process.exit(143)
})
for (const threads of options.threads.split(',')) {
  await compare(threads)
  print(threads)
}
process.stdout.write(`load average at the end: ${loadavg()[0].toFixed(1)}\n`)
