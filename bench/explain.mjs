// node bench/explain.mjs WORKLOAD [PAGE.html]: where the time of a network's compiled step goes, by operation and shapes, as a
// table; in full as a page. BENCH_THREADS says on how many threads; with BENCH_INT8 layers are quantised.
import { anneal } from './anneal.mjs'
import { networks } from './models/index.mjs'
import { textTable } from './report.mjs'
import { stepOf } from './steps.mjs'
import { sets } from './workloads.mjs'

const [, , name, page] = process.argv
const workloads = Object.values(sets).flatMap(set => set.filter(({ network }) => network))
const workload = workloads.find(workload => workload.name === name)
if (!workload) throw new Error(`explain: ${name} is not one of ${workloads.map(({ name }) => name)}`)
if (process.env.BENCH_THREADS) anneal.setThreads(Number(process.env.BENCH_THREADS))

/** Sums over all operations for which `key` is the same, those that took most time first. */
function grouped(operations, key) {
  const groups = new Map()
  for (const operation of operations) {
    const { count, seconds, work, bytes } = groups.get(key(operation)) ?? { count: 0, seconds: 0, work: 0, bytes: 0 }
    groups.set(key(operation), {
      count: count + 1,
      seconds: seconds + Math.max(0, operation.nanoseconds) / 1e9,
      work: work + operation.work,
      bytes: bytes + operation.bytes,
    })
  }
  return [...groups].sort(([, a], [, b]) => b.seconds - a.seconds)
}

function table(operations, key) {
  const all = operations.reduce((sum, { nanoseconds }) => sum + Math.max(0, nanoseconds), 0) / 1e9
  const rows = grouped(operations, key).map(([title, { count, seconds, work, bytes }]) => [
    title,
    String(count),
    (seconds * 1e3).toFixed(2),
    `${((100 * seconds) / all).toFixed(1)} %`,
    (work / seconds / 1e9).toFixed(1),
    (bytes / seconds / 1e9).toFixed(1),
  ])
  return textTable([['Operation', 'Calls', 'ms', 'Share', 'G work/s', 'GB/s'], ...rows])
}

const shapes = ({ name, inputs }) =>
  `${name} ${inputs
    .slice(0, 3)
    .map(input => /\[.*\]/.exec(input)?.[0] ?? input)
    .join(' ')}`

const model = networks[workload.network].model(workload.options)
if (process.env.BENCH_INT8) anneal.nn.quantize(model)
const [step, batch] = stepOf(workload, model)
const compiled = anneal.compile(step)
const run = of => (workload.train ? of(...batch) : anneal.noGrad(() => of(...batch)))
for (let i = 0; i < 2; i++) await run(compiled).data() // prepares kernels
const explanation = await run(compiled.explain)
const { operations } = explanation
const lines = [
  `${workload.title}: ${String(explanation).split('\n')[0]}`,
  ...table(operations, ({ name }) => name),
  '',
  ...table(operations, shapes).slice(0, 40),
]
process.stdout.write(`${lines.join('\n')}\n`)
if (page) await explanation.save(page)
