// Anneal's side of the op benchmarks.
import { createRequire } from 'node:module'
import { ahead, serve } from '../worker.mjs'
import { cases, values, workload } from './cases.mjs'

const anneal = createRequire(import.meta.url)('../../dist/index.js')
const { gradients, setDevice, setThreads, getThreads, synchronize, tensor } = anneal
setThreads(Number(process.env.BENCH_THREADS))
if (process.env.BENCH_DEVICE) setDevice(process.env.BENCH_DEVICE)

function input(spec, number) {
  const shape = spec.shape ?? spec.images ?? spec.kernels ?? spec
  const made = tensor(values(spec, shape, number), { shape })
  const converted = spec.dtype ? made.cast(spec.dtype) : made
  return spec.tile > 1 ? converted.tile([spec.tile, ...shape.slice(1).fill(1)]) : converted
}

const isFloat = x => x.dtype.includes('float')
const outputs = result => (Array.isArray(result) ? result : [result])

async function prepare({ inputs, anneal: op, prepare }, backward) {
  const given = Object.fromEntries(Object.entries(inputs).map(([name, spec], i) => [name, input(spec, i + 1)]))
  const prepared = prepare?.(given)
  const leaves = Object.values(given).filter(isFloat)
  if (backward) for (const x of leaves) x.requireGrad()
  const first = outputs(op(given, prepared))[0]
  const cotangent =
    backward && tensor(values(first.shape, first.shape, 9), { shape: [...first.shape] }).cast(first.dtype)
  const check = first && (await first.cast('float32').abs().mean().item())

  const once = () => {
    const made = outputs(op(given, prepared))
    if (!backward) return made
    return [...gradients([made[0]], leaves, { gradOutputs: [cotangent] }), ...made]
  }
  const { wait, rest } = ahead(4)
  return async iterations => {
    for (let i = 0; i < iterations; i++) {
      const made = once()
      if (i % 4 === 3 && made[0]) await wait(made[0])
      for (const y of made) y?.dispose()
    }
    await rest()
    await synchronize()
    return check
  }
}

const workloads = {}
for (const one of cases) {
  workloads[workload(one, false)] = () => prepare(one, false)
  if (one.backward) workloads[workload(one, true)] = () => prepare(one, true)
}
const { hardware } = anneal.devices().find(({ name }) => name === anneal.getDevice())
await serve({ name: 'Anneal', version: '0.1.0', threads: getThreads(), hardware }, name => workloads[name]?.())
