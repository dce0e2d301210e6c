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
const keep = () => options.json && writeFileSync(options.json, `${JSON.stringify(all, null, 1)}\n`)

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

async function compare(threads) {
  const peers = start(threads)
  const found = []
  all[threads] = found
  for (const { one, name } of workloads) {
    const results = await measure(peers, { name }, { repeats: Number(options.repeats), sampleSeconds, keep: true })
    const wrong = problem(one, results)
    if (wrong) process.stderr.write(`${name}: ${wrong}\n`)
    if (!results.anneal.times || !results.torch.times) continue
    const { anneal, torch } = results
    const times = [
      ['anneal', anneal.minimum],
      ['torch', torch.minimum],
    ]
    const more = rates(one, name !== one.name, times)
    found.push({ name, ...Object.fromEntries(times), ratio: speedup(torch, anneal), ...more })
    keep()
    process.stderr.write(`\r${found.length} of ${workloads.length}`)
  }
  process.stderr.write('\n')
  for (const peer of peers) await peer.end()
  found.sort((a, b) => b.ratio - a.ratio)
  keep()
  return found
}

const micros = seconds => (seconds * 1e6).toFixed(1)
for (const threads of options.threads.split(',')) {
  const found = await compare(threads)
  const head = [`${threads} thread${threads === '1' ? '' : 's'}`, 'Anneal µs', 'PyTorch µs', 'Anneal / PyTorch']
  const rows = found.map(r => [r.name, micros(r.anneal), micros(r.torch), r.ratio.toFixed(2)])
  process.stdout.write(`${textTable([head, ...rows.slice(0, Number(options.worst))]).join('\n')}\n\n`)
}
process.stdout.write(`load average at the end: ${loadavg()[0].toFixed(1)}\n`)
