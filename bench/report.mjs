// The results as text: a table for the terminal and for docs/benchmarks.md.
import { speedup } from './measure.mjs'
import { titles } from './peers.mjs'

const factors = { µs: 1e6, ms: 1e3 }
const digits = value => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2))

function time(result, unit) {
  if (!result?.times) return result?.error ? 'not there' : '–'
  return `${digits(result.median * factors[unit])} (${digits(result.minimum * factors[unit])})`
}

const times = ratio => (ratio === undefined ? '–' : `${ratio.toFixed(2)}×`)

/** Rows of cells; the first is the head. */
export function rows({ workloads, peers }) {
  const ids = peers.map(peer => peer.id)
  const compared = ids.filter(id => id !== 'anneal' && id !== 'oneDnn')
  const head = ['Workload', 'Unit', ...ids.map(id => titles[id]), ...compared.map(id => `vs ${titles[id]}`), 'Ceiling']
  const body = workloads.map(({ title, unit, results }) => [
    title,
    unit,
    ...ids.map(id => time(results[id], unit)),
    ...compared.map(id => times(speedup(results.anneal, results[id]))),
    results.oneDnn?.times ? `${(speedup(results.anneal, results.oneDnn) * 100).toFixed(0)} %` : '–',
  ])
  return [head, ...body]
}

export function textTable(cells) {
  const widths = cells[0].map((_, column) => Math.max(...cells.map(row => row[column].length)))
  return cells.map(row => row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  '))
}

export function markdownTable([head, ...body]) {
  const line = row => `| ${row.join(' | ')} |`
  return [line(head), line(head.map((_, i) => (i < 2 ? '---' : '---:'))), ...body.map(line)]
}

/** What the figures hold for: machine, versions, load, command, date. */
export function conditions({ machine, peers, command, date, repeats, threads, load }) {
  return [
    `- Machine: ${machine}`,
    `- Versions: Node.js ${process.versions.node}, ${peers.map(p => `${titles[p.id]} ${p.version}`).join(', ')}`,
    `- ${threads} threads, ${repeats} interleaved repeats; load average when started ${load.before}, at the end ${load.after}`,
    `- \`${command}\`, ${date}`,
  ]
}

export function latencyLines(latency) {
  return latency
    ? [
        `A 1 ms timer's lateness while \`fit\` trains a 1024-2048-2048-10 MLP: ${latency.p50.toFixed(2)} ms in the median, ` +
          `${latency.p99.toFixed(2)} ms at the 99th percentile, ${latency.max.toFixed(2)} ms at most (${latency.count} timers).`,
      ]
    : []
}
