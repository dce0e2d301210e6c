// Anneal's side of the benchmarks; with BENCH_COMPILE steps of networks are compiled, with BENCH_INT8 quantised; BENCH_DEVICE
// says where they are computed.
import { anneal } from '../anneal.mjs'
import { operations } from '../operations.mjs'
import { prepareNetwork } from '../steps.mjs'
import { serve } from '../worker.mjs'

anneal.setThreads(Number(process.env.BENCH_THREADS))
const compiled = Boolean(process.env.BENCH_COMPILE)
const int8 = Boolean(process.env.BENCH_INT8)

const device = process.env.BENCH_DEVICE
if (device) anneal.setDevice(device)
const memory = device && { peak: () => anneal.memory().peak, resetPeak: () => anneal.resetPeakMemory() }
const hardware = device && anneal.devices().find(({ name }) => name === anneal.getDevice()).hardware
const about = { name: 'Anneal', version: '0.1.0', threads: anneal.getThreads(), hardware }

await serve(
  about,
  async (name, options) => {
    if (options.network) return prepareNetwork(options, { compiled, int8 })
    return compiled ? undefined : operations[name]?.()
  },
  memory,
)
