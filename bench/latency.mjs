// How late a 1 ms timer is while `fit` trains a large model: prints { count, p50, p99, max } in milliseconds.
import { setTimeout as sleep } from 'node:timers/promises'
import { anneal } from './anneal.mjs'
import { formula } from './values.mjs'

const seconds = 5
const { nn, optim, setThreads, tensor } = anneal
if (process.env.BENCH_THREADS) setThreads(Number(process.env.BENCH_THREADS))

const examples = 8192
const x = tensor(formula(examples * 1024, 1, 1), { shape: [examples, 1024] })
const y = tensor(Int32Array.from({ length: examples }, (_, i) => i % 10))
const model = new nn.Sequential(
  new nn.Linear(1024, 2048),
  new nn.ReLU(),
  new nn.Linear(2048, 2048),
  new nn.ReLU(),
  new nn.Linear(2048, 10),
)
model.compile({ optimizer: new optim.AdamW({ lr: 1e-4 }), loss: 'crossEntropy' })

const stop = new AbortController()
const fit = model.fit(x, y, { epochs: 1000, batchSize: 128, progress: false, signal: stop.signal })
const late = []
await sleep(1000) // the first steps prepare kernels
const end = performance.now() + seconds * 1000
while (performance.now() < end) {
  const start = performance.now()
  await sleep(1)
  late.push(Math.max(0, performance.now() - start - 1))
}
stop.abort()
await fit.catch(() => {})

late.sort((a, b) => a - b)
const quantile = q => late[Math.min(late.length - 1, Math.floor(q * late.length))]
const lateness = { count: late.length, p50: quantile(0.5), p99: quantile(0.99), max: late.at(-1) }
process.stdout.write(`${JSON.stringify(lateness)}\n`)
process.exit(0)
