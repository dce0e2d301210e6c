// The workloads of every set, from workloads.json. One with `vary` stands for several: itself, and with each of the values in
// turn instead of its own.
import { readFileSync } from 'node:fs'

const listed = JSON.parse(readFileSync(new URL('workloads.json', import.meta.url), 'utf8'))

function varied(base, options, threads) {
  const { name, title, vary, ...rest } = base
  const { batch, sequence, layers } = options
  const at = `B${batch} S${sequence}, depth ${layers}${threads ? `, threads ${threads}` : ''}`
  const id = [name, batch, sequence, layers, threads].filter(Boolean).join('-')
  return { ...rest, name: id, title: `${title}, ${at}`, options, threads }
}

function expanded(workload) {
  if (!workload.vary) return [workload]
  const others = Object.entries(workload.vary).flatMap(([what, values]) =>
    values.map(value =>
      what === 'threads'
        ? varied(workload, workload.options, value)
        : varied(workload, { ...workload.options, [what]: value }),
    ),
  )
  return [varied(workload, workload.options), ...others]
}

/** By set, in order. */
export const sets = Object.fromEntries(
  Object.entries(listed).map(([set, workloads]) => [set, workloads.flatMap(expanded)]),
)
