// Anneal's side of the benchmarks; with BENCH_COMPILE steps of networks are compiled, with BENCH_INT8 quantised.
import { anneal } from '../anneal.mjs'
import { operations } from '../operations.mjs'
import { prepareNetwork } from '../steps.mjs'
import { serve } from '../worker.mjs'

anneal.setThreads(Number(process.env.BENCH_THREADS))
const compiled = Boolean(process.env.BENCH_COMPILE)
const int8 = Boolean(process.env.BENCH_INT8)

await serve({ name: 'Anneal', version: '0.1.0', threads: anneal.getThreads() }, async (name, options) => {
  if (options.network) return prepareNetwork(options, { compiled, int8 })
  return compiled ? undefined : operations[name]?.()
})
