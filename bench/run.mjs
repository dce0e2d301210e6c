// npm run bench -- [--only mlp,cnn] [--peers anneal,torch] [--repeats 7] [--threads 4] [--save NAME]
// Compares Anneal with what is there of PyTorch ($PYTHON or python3), TensorFlow.js and oneDNN alone, in one run.
// --save writes bench/results/NAME.json and the table of docs/benchmarks.md.
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { measure, requireAgreement, speedup } from './measure.mjs'
import { startPeers, titles } from './peers.mjs'
import { conditions, latencyLines, markdownTable, rows, textTable } from './report.mjs'

const at = path => fileURLToPath(new URL(path, import.meta.url))

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    peers: { type: 'string', default: Object.keys(titles).join() },
    repeats: { type: 'string', default: '7' },
    threads: { type: 'string', default: String(availableParallelism()) },
    save: { type: 'string' },
  },
})
const repeats = Number(options.repeats)
if (!(repeats >= 5)) throw new Error(`--repeats: expected 5 or more; got ${options.repeats}`)

function chosen() {
  const all = JSON.parse(readFileSync(at('workloads.json'), 'utf8'))
  const known = [...all.map(({ name }) => name), 'latency']
  const names = options.only?.split(',') ?? known
  for (const name of names) if (!known.includes(name)) throw new Error(`--only: ${name} is not one of ${known.join()}`)
  return { workloads: all.filter(({ name }) => names.includes(name)), withLatency: names.includes('latency') }
}

async function compare(peers, workloads) {
  for (const workload of workloads) {
    process.stderr.write(`${workload.title}\n`)
    workload.results = await measure(peers, workload.name, repeats)
    requireAgreement(workload.name, workload.results.anneal, workload.results.torch)
    const { anneal, oneDnn, torch } = workload.results
    workload.speedup = { torch: speedup(anneal, torch), ceiling: speedup(anneal, oneDnn) }
  }
}

async function timerLateness(environment) {
  process.stderr.write('lateness of a timer during fit\n')
  const { stdout } = await promisify(execFile)(process.execPath, [at('latency.mjs')], {
    env: { ...process.env, ...environment },
  })
  return JSON.parse(stdout)
}

function save(name, run, table) {
  mkdirSync(at('results'), { recursive: true })
  writeFileSync(at(`results/${name}.json`), `${JSON.stringify(run, null, 2)}\n`)
  const path = at('../docs/benchmarks.md')
  const text = readFileSync(path, 'utf8')
  const marks = ['<!-- results: written by npm run bench -- --save -->\n', '<!-- end of results -->']
  const [before, rest] = text.split(marks[0])
  const after = rest.slice(rest.indexOf(marks[1]))
  const body = [...conditions(run), '', ...table, '', ...latencyLines(run.latency)].join('\n').trimEnd()
  writeFileSync(path, `${before}${marks[0]}${body}\n${after}`)
}

const { workloads, withLatency } = chosen()
const environment = { BENCH_THREADS: options.threads }
const load = () => loadavg()[0].toFixed(1)
const before = load()
const peers = workloads.length ? await startPeers(options.peers.split(','), environment) : []
await compare(peers, workloads)
for (const peer of peers) await peer.end()
const run = {
  machine: `${cpus()[0].model.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`,
  peers: peers.map(({ id, about }) => ({ id, ...about })),
  command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
  date: new Date().toISOString().slice(0, 10),
  repeats,
  threads: Number(options.threads),
  workloads,
  latency: withLatency ? await timerLateness(environment) : undefined,
  load: { before, after: load() },
}
if (workloads.length) process.stdout.write(`${textTable(rows(run)).join('\n')}\n`)
process.stdout.write(`${[...conditions(run), ...latencyLines(run.latency)].join('\n')}\n`)
if (options.save) save(options.save, run, markdownTable(rows(run)))
