// The results as text: tables for the terminal and for docs/benchmarks.md.
import { speedup } from './measure.mjs'
import { contender } from './peers.mjs'

const factors = { µs: 1e6, ms: 1e3 }
const digits = value => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2))
const percent = ratio => (ratio === undefined ? '–' : `${(ratio * 100).toFixed(0)} %`)
const times = ratio => (ratio === undefined ? '–' : `${ratio.toFixed(2)}×`)

/** The fastest of the results whose contender passes `test`. */
function fastest(results, test) {
  const able = Object.entries(results).filter(([id, result]) => result.times && test(contender(id)))
  return able.sort(([, a], [, b]) => a.median - b.median)[0]?.[1]
}

const ours = results => fastest(results, ({ ours }) => ours)

/** How many times faster the faster of Anneal's variants is than the fastest peer of the same precision. */
export function lead(results) {
  return speedup(
    ours(results),
    fastest(results, c => !c.ours && !c.ceiling && !c.rounded),
  )
}

/** A row for each workload with a cell for each contender that ran any; the first row is the head. */
function table({ workloads, peers }, cell, more = []) {
  const ids = peers.map(peer => peer.id)
  const head = ['Workload', ...ids.map(id => contender(id).title), ...more.map(([title]) => title)]
  const body = workloads.map(workload => [
    workload.title,
    ...ids.map(id => cell(workload.results[id], workload)),
    ...more.map(([, value]) => value(workload)),
  ])
  return [head, ...body]
}

function time(result, { unit }) {
  if (result?.over) return `> ${result.over} s`
  if (!result?.times) return result?.error ? 'not there' : '–'
  return `${digits(result.median * factors[unit])} (${digits(result.minimum * factors[unit])})`
}

/** How many tokens, images or the like the fastest of Anneal's variants does in a second. */
function rate({ count, of, results }) {
  return count && ours(results) ? `${(count / ours(results).median).toFixed(0)} ${of}` : '–'
}

/** One line: each contender's time, rate, and how many times faster Anneal's fastest variant is. */
export function outcome({ title, unit, count, of, results }) {
  const best = ours(results)
  const cells = Object.entries(results).map(([id, result]) => {
    if (!result.times) return `${contender(id).title}: ${result.error}`
    const perSecond = count ? `, ${(count / result.median).toFixed(0)} ${of}/s` : ''
    const parts = result.micro ? `, in ${result.micro} parts` : ''
    const ahead = contender(id).ours ? '' : `, ${times(speedup(best, result))}`
    return `${contender(id).title} ${digits(result.median * factors[unit])} ${unit}${perSecond}${parts}${ahead}`
  })
  return `${title}: ${cells.join('; ')}`
}

function timeTable(run) {
  const more = [
    ['Unit', ({ unit }) => unit],
    ['vs best peer', ({ results }) => times(lead(results))],
  ]
  if (run.workloads.some(({ results }) => results.compiledInt8)) {
    more.push(['int8 vs int8', ({ results }) => times(speedup(results.compiledInt8, results.ortInt8))])
  }
  if (run.workloads.some(({ results }) => results.oneDnn)) {
    more.push(['Ceiling', ({ results }) => percent(speedup(results.anneal, results.oneDnn))])
  }
  if (run.workloads.some(({ count }) => count)) {
    more.push(['Ours, per s', rate])
  }
  if (run.ceilings) {
    more.push(['Floor', ({ floor, unit }) => (floor ? digits(floor * factors[unit]) : '–')])
    more.push(['Of the floor', ({ floor, results }) => percent(floor && ours(results) && floor / ours(results).median)])
  }
  return table(run, time, more)
}

/** Titled tables of a run: [title, rows]. */
export function tables(run) {
  const found = [['Time per iteration, median (minimum)', timeTable(run)]]
  if (run.workloads.some(({ network }) => network)) {
    found.push(
      [
        run.workloads.some(({ device }) => device)
          ? "Peak memory of the device's tensors, MiB"
          : 'Peak memory of the process, MiB',
        table(run, result => (result?.peak ? (result.peak / 2 ** 20).toFixed(0) : '–')),
      ],
      ['First iteration, s: compilation included', table(run, result => (result?.first ? digits(result.first) : '–'))],
    )
  }
  return found
}

export function textTable(cells) {
  const widths = cells[0].map((_, column) => Math.max(...cells.map(row => row[column].length)))
  return cells.map(row => row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  '))
}

export function markdownTable([head, ...body]) {
  const line = row => `| ${row.join(' | ')} |`
  return [line(head), line(head.map((_, i) => (i < 1 ? '---' : '---:'))), ...body.map(line)]
}

function rates({ flops, flops16, bandwidth }) {
  const giga = (rate, digits) => (rate / 1e9).toFixed(digits)
  const half = flops16 ? `, in bfloat16 ${giga(flops16, 0)}` : ''
  return `${giga(flops, 0)} GFLOP/s (2048×768×3072)${half}, ${giga(bandwidth, 1)} GB/s read and written`
}

/** What the figures hold for: machine, versions, load, command, date. */
export function conditions({ machine, peers, command, date, repeats, threads, load, ceilings, again = [] }) {
  const versions = new Map(peers.map(({ name, version }) => [name, version]))
  return [
    `- Machine: ${[machine, peers.find(({ hardware }) => hardware)?.hardware].filter(Boolean).join('; ')}`,
    `- Versions: Node.js ${process.versions.node}, ${Array.from(versions, one => one.join(' ')).join(', ')}`,
    `- ${threads} threads, ${repeats} interleaved repeats; load average when started ${load.before}, at the end ${load.after}`,
    ...(ceilings ? [`- Ceilings in this run, by Anneal: ${rates(ceilings)}`] : []),
    `- \`${command}\`, ${date}`,
    ...again.map(({ titles, command, date, load, ceilings }) =>
      [
        `- Measured again: ${titles.join('; ')}: load average ${load.before} and ${load.after}`,
        ...(ceilings ? [rates(ceilings)] : []),
        `\`${command}\`, ${date}`,
      ].join('; '),
    ),
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
