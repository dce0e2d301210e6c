// npm run bench -- [--set networks] [--only mlp,gpt2] [--peers anneal,torch] [--repeats 7] [--budget 600] [--patience 60] [--threads 4] [--save NAME]
// Compares Anneal with what is there of PyTorch and onnxruntime ($PYTHON or python3), TensorFlow.js and oneDNN alone, in one
// run. Sets: operations, networks, bfloat16, growth, and for a GPU cuda; without --set all for the CPU are run. --budget stops
// repeating a workload after that many seconds. --device cuda computes any set on the GPU. --json FILE writes what is known after every workload. --save writes bench/results/NAME-SET.json and the set's tables in docs/benchmarks.md; with --only, in what was saved before, the workloads that ran.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, freemem, loadavg, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { ceilings } from './ceilings.mjs'
import { difference, measure } from './measure.mjs'
import { floor } from './models/costs.mjs'
import { contender, ids, peersFor } from './peers.mjs'
import { prepare } from './prepare.mjs'
import { conditions, latencyLines, lead, markdownTable, outcome, tables, textTable } from './report.mjs'
import { sets } from './workloads.mjs'

const at = path => fileURLToPath(new URL(path, import.meta.url))
const latency = 'latency' // measured with the operations

/** Whether a set is for the CPU. */
function onCpu(set) {
  return !sets[set].some(({ device }) => device)
}

const { values: options } = parseArgs({
  options: {
    set: { type: 'string', default: Object.keys(sets).filter(onCpu).join() },
    only: { type: 'string' },
    peers: { type: 'string', default: ids.join() },
    repeats: { type: 'string', default: '5' },
    budget: { type: 'string' },
    patience: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    device: { type: 'string' },
    json: { type: 'string' },
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
  const reference = results.anneal ?? results.compiled
  return Object.entries(results).flatMap(([id, result]) => {
    result.difference = difference(result, reference)
    const allowed = contender(id).rounded ? tolerances.rounded : tolerances[autocast]
    if (!(result.difference > allowed || Number.isNaN(result.difference))) return []
    return [`${name}: ${id} gives ${result.check}; Anneal gives ${reference.check}`]
  })
}

const mostParts = 8

/** Measures; where memory does not hold a step's activations, those peers take the batch in twice as many parts. */
async function measured(names, workload, settings, start) {
  const peers = start(names, workload)
  const results = await measure(peers, workload, settings)
  const micro = 2 * (workload.options?.micro ?? 1)
  const tooLarge = names.filter(id => /memory/i.test(results[id]?.error ?? ''))
  if (!workload.train || tooLarge.length === 0 || micro > mostParts) return { peers, results }
  const smaller = { ...workload, options: { ...workload.options, micro } }
  const again = await measured(tooLarge, smaller, settings, start)
  for (const result of Object.values(again.results)) result.micro ??= micro
  return { peers: [...peers, ...again.peers], results: { ...results, ...again.results } }
}

async function compare(names, workload, environment, about) {
  process.stderr.write(`${workload.title}\n`)
  await prepare(workload, { onnx: names.some(name => name.toLowerCase().includes('ort')) })
  const start = (some, given) =>
    peersFor(some, given, { ...environment, BENCH_THREADS: String(given.threads ?? options.threads) })
  // Processes wait beside each other where memory allows for it: `memory` is what each needs, in GiB.
  const alone = workload.alone ?? (workload.memory ?? 1) * 2 ** 30 * start(names, workload).length > 0.7 * freemem()
  const settings = {
    repeats,
    budget: Number(options.budget ?? Infinity),
    patience: Number(options.patience ?? Infinity),
    alone,
    perTurn: Math.ceil(repeats / 2), // where each lives alone, starts take most of the time
  }
  const { peers, results } = await measured(names, workload, settings, start)
  workload.results = results
  delete workload.weights
  delete workload.onnx
  for (const peer of peers) {
    if (peer.about) about.set(peer.id, peer.about)
    const { error } = workload.results[peer.id]
    if (error) console.error(`  ${contender(peer.id).title}: ${error}`)
  }
  workload.lead = lead(workload.results)
  if (workload.device) process.stdout.write(`${outcome(workload)}\n`) // known also if time runs out later
  return disagreements(workload)
}

async function timerLateness(environment) {
  process.stderr.write('lateness of a timer during fit\n')
  const { stdout } = await promisify(execFile)(process.execPath, [at('latency.mjs')], {
    env: { ...process.env, ...environment },
  })
  return JSON.parse(stdout)
}

/** What was saved with the workloads of `run` in place of those of the same name; just `run` where all were to run. */
function amended(path, run) {
  if (!options.only || !existsSync(path)) return run
  const saved = JSON.parse(readFileSync(path, 'utf8'))
  const known = peer => saved.peers.some(one => JSON.stringify(one) === JSON.stringify(peer))
  if (saved.machine !== run.machine || saved.threads !== run.threads || !run.peers.every(known)) {
    throw new Error(
      `--save: ${path} is of another machine, other versions or other peers; expected the same to replace some of its workloads: leave --only out`,
    )
  }
  const { command, date, load, ceilings, workloads } = run
  const renewed = new Map(workloads.map(workload => [workload.name, workload]))
  const later = { titles: workloads.map(({ title }) => title), command, date, load, ceilings }
  return {
    ...saved,
    workloads: saved.workloads.map(workload => renewed.get(workload.name) ?? workload),
    again: [...(saved.again ?? []), later],
  }
}

const markdown = run => tables(run).flatMap(([title, rows]) => [`${title}:`, '', ...markdownTable(rows), ''])

function save(set, run) {
  mkdirSync(at('results'), { recursive: true })
  const file = at(`results/${options.save}-${set}.json`)
  const all = amended(file, run)
  writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`)
  const lines = [...conditions(all), '', ...(all.workloads.length ? markdown(all) : []), ...latencyLines(all.latency)]
  const text = lines.join('\n').trimEnd()
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
  const device = options.device ?? workloads.find(one => one.device)?.device
  if (device) environment.BENCH_DEVICE = device
  for (const workload of workloads) workload.device = device
  const names = listed('peers', ids)
  const about = new Map()
  const before = load()
  const limits = !device && workloads.some(({ network }) => network) ? await ceilings(environment) : undefined
  const problems = []
  const run = () => ({
    machine: `${cpus()[0].model.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    peers: ids.filter(id => about.has(id)).map(id => ({ id, ...about.get(id) })),
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    date: new Date().toISOString().slice(0, 10),
    repeats,
    threads: Number(options.threads),
    ceilings: limits,
    workloads: workloads.filter(({ results }) => results),
    load: { before, after: load() },
  })
  for (const workload of workloads) {
    problems.push(...(await compare(names, workload, environment, about)))
    if (limits && workload.network && !workload.threads) workload.floor = floor(workload, workload.parameters, limits)
    if (options.json) writeFileSync(options.json, `${JSON.stringify({ ...run(), problems }, null, 1)}\n`)
  }
  finish(set, { ...run(), latency: withLatency ? await timerLateness(environment) : undefined }, problems)
}

function finish(set, run, problems) {
  const found = run.workloads.length ? tables(run) : []
  const head = [...conditions(run), ...latencyLines(run.latency)]
  process.stdout.write(
    `${[...found.flatMap(([title, rows]) => [title, ...textTable(rows), '']), ...head].join('\n')}\n`,
  )
  if (problems.length) throw new Error(`results differ:\n${problems.join('\n')}`)
  if (options.save) save(set, run)
}

const only = listed('only', [...Object.values(sets).flatMap(set => set.map(({ name }) => name)), latency])
for (const set of listed('set', Object.keys(sets))) await runSet(set, only)
