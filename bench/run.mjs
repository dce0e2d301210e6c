// npm run bench -- [--set networks] [--only mlp,gpt2] [--peers anneal,torch] [--repeats 7] [--budget 600] [--threads 4] [--save NAME]
// Compares Anneal with what is there of PyTorch and onnxruntime ($PYTHON or python3), TensorFlow.js and oneDNN alone, in one
// run. Sets: operations, networks, bfloat16, growth; without --set all are run. --budget stops repeating a workload after that many
// seconds. --save writes bench/results/NAME-SET.json and the set's tables in docs/benchmarks.md.
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, freemem, loadavg, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { ceilings } from './ceilings.mjs'
import { difference, measure } from './measure.mjs'
import { floor } from './models/costs.mjs'
import { contender, ids, peersFor } from './peers.mjs'
import { prepare } from './prepare.mjs'
import { conditions, latencyLines, lead, markdownTable, tables, textTable } from './report.mjs'
import { sets } from './workloads.mjs'

const at = path => fileURLToPath(new URL(path, import.meta.url))
const latency = 'latency' // measured with the operations

const { values: options } = parseArgs({
  options: {
    set: { type: 'string', default: Object.keys(sets).join() },
    only: { type: 'string' },
    peers: { type: 'string', default: ids.join() },
    repeats: { type: 'string', default: '5' },
    budget: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    save: { type: 'string' },
  },
})
const repeats = Number(options.repeats)
if (options.save && !(repeats >= 5)) throw new Error(`--save: expected 5 repeats or more; got ${options.repeats}`)

function listed(option, known) {
  const names = options[option]?.split(',') ?? known
  for (const name of names) if (!known.includes(name)) throw new Error(`--${option}: ${name} is not one of ${known}`)
  return names
}

/** How far the first results of a contender may be from Anneal's, in parts of the largest. */
const tolerances = { float32: 1e-4, bfloat16: 0.02, rounded: 0.25 }

/** What is wrong with the first results, as text. */
function disagreements({ name, results, autocast = 'float32' }) {
  return Object.entries(results).flatMap(([id, result]) => {
    result.difference = difference(result, results.anneal)
    const allowed = contender(id).rounded ? tolerances.rounded : tolerances[autocast]
    if (!(result.difference > allowed || Number.isNaN(result.difference))) return []
    return [`${name}: ${id} gives ${result.check}; Anneal gives ${results.anneal.check}`]
  })
}

async function compare(names, workload, environment, about) {
  process.stderr.write(`${workload.title}\n`)
  await prepare(workload, { onnx: names.some(name => name.toLowerCase().includes('ort')) })
  const peers = peersFor(names, workload, {
    ...environment,
    BENCH_THREADS: String(workload.threads ?? options.threads),
  })
  // Processes wait beside each other where memory allows for it: `memory` is what each needs, in GiB.
  const alone = (workload.memory ?? 1) * 2 ** 30 * peers.length > 0.7 * freemem()
  workload.results = await measure(peers, workload, { repeats, budget: Number(options.budget ?? Infinity), alone })
  delete workload.weights
  delete workload.onnx
  for (const peer of peers) {
    if (peer.about) about.set(peer.id, peer.about)
    const { error } = workload.results[peer.id]
    if (error) console.error(`  ${contender(peer.id).title}: ${error}`)
  }
  workload.lead = lead(workload.results)
  return disagreements(workload)
}

async function timerLateness(environment) {
  process.stderr.write('lateness of a timer during fit\n')
  const { stdout } = await promisify(execFile)(process.execPath, [at('latency.mjs')], {
    env: { ...process.env, ...environment },
  })
  return JSON.parse(stdout)
}

function save(set, run, text) {
  mkdirSync(at('results'), { recursive: true })
  writeFileSync(at(`results/${options.save}-${set}.json`), `${JSON.stringify(run, null, 2)}\n`)
  const path = at('../docs/benchmarks.md')
  const page = readFileSync(path, 'utf8')
  const mark = `<!-- ${set}: written by npm run bench -- --save -->\n`
  const [before, rest] = page.split(mark)
  const after = rest.slice(rest.indexOf('<!-- end of results -->'))
  writeFileSync(path, `${before}${mark}${text}\n${after}`)
}

const load = () => loadavg()[0].toFixed(1)

async function runSet(set, only) {
  const workloads = sets[set].filter(({ name }) => only.includes(name))
  const withLatency = set === 'operations' && only.includes(latency)
  if (!workloads.length && !withLatency) return
  const environment = { BENCH_THREADS: options.threads }
  const names = listed('peers', ids)
  const about = new Map()
  const before = load()
  const limits = workloads.some(({ network }) => network) ? await ceilings(environment) : undefined
  const problems = []
  for (const workload of workloads) {
    problems.push(...(await compare(names, workload, environment, about)))
    if (workload.network && !workload.threads && !workload.autocast)
      workload.floor = floor(workload, workload.parameters, limits)
  }
  const run = {
    machine: `${cpus()[0].model.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    peers: ids.filter(id => about.has(id)).map(id => ({ id, ...about.get(id) })),
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    date: new Date().toISOString().slice(0, 10),
    repeats,
    threads: Number(options.threads),
    ceilings: limits,
    workloads,
    latency: withLatency ? await timerLateness(environment) : undefined,
    load: { before, after: load() },
  }
  const found = workloads.length ? tables(run) : []
  const head = [...conditions(run), ...latencyLines(run.latency)]
  process.stdout.write(
    `${[...found.flatMap(([title, rows]) => [title, ...textTable(rows), '']), ...head].join('\n')}\n`,
  )
  const page = found.flatMap(([title, rows]) => [`${title}:`, '', ...markdownTable(rows), ''])
  if (problems.length) throw new Error(`results differ:\n${problems.join('\n')}`)
  if (options.save) save(set, run, [...conditions(run), '', ...page, ...latencyLines(run.latency)].join('\n').trimEnd())
}

const only = listed('only', [...Object.values(sets).flatMap(set => set.map(({ name }) => name)), latency])
for (const set of listed('set', Object.keys(sets))) await runSet(set, only)
