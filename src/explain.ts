import { writeFile } from 'node:fs/promises'
import type { GraphOperation, NativeGraph, Replays } from './native'
import { bytesOf, countOf, scaled } from './units'

export type { GraphOperation, Replays } from './native'

/** A captured graph. */
export interface GraphDescription extends NativeGraph {
  /** How long it took to capture and to plan it. */
  captureSeconds: number
}

const columns = ['operation', 'time', 'share', 'work', 'moved', 'held', 'result', 'inputs'] as const

const timeOf = (ns: number) => (ns < 0 ? '–' : scaled(ns, ['ns', 'µs', 'ms', 's'], 1000))

function totalTime(operations: readonly GraphOperation[]): number {
  return operations.reduce((sum, { nanoseconds }) => sum + Math.max(0, nanoseconds), 0)
}

function shareOf({ nanoseconds }: GraphOperation, total: number): number {
  return total > 0 ? Math.max(0, nanoseconds) / total : 0
}

function cellsOf(operation: GraphOperation, total: number): string[] {
  const { name, attributes, nanoseconds, work, bytes, live, inputs, outputs } = operation
  return [
    attributes ? `${name}(${attributes})` : name,
    timeOf(nanoseconds),
    `${(100 * shareOf(operation, total)).toFixed(1)} %`,
    countOf(work),
    bytesOf(bytes),
    bytesOf(live),
    outputs.join(', '),
    inputs.join(', '),
  ]
}

function replaysOf({ replayed, separate, problem }: Replays): string {
  const reason = problem ? `, because they cannot be recorded: ${problem}` : ''
  return `; ${replayed} runs as one CUDA graph, ${separate} as separate operations${reason}`
}

function summaryOf({ operations, arenaBytes, liveBytes, captureSeconds, replays }: GraphDescription): string {
  const time = timeOf(totalTime(operations))
  const memory = `intermediate results share ${bytesOf(arenaBytes)}, of which at most ${bytesOf(liveBytes)} are in use at a time`
  return `${operations.length} operations in ${time}; ${memory}; captured and planned in ${timeOf(captureSeconds * 1e9)}${replays ? replaysOf(replays) : ''}`
}

/** A captured graph as a table of text, its operations in order. */
export function printGraph(graph: GraphDescription): string {
  const total = totalTime(graph.operations)
  const rows = [[...columns], ...graph.operations.map(operation => cellsOf(operation, total))]
  const widths = columns.map((_, i) => Math.min(48, Math.max(...rows.map(row => row[i]!.length))))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd()
  return `${[summaryOf(graph), ...graph.notes, ...rows.map(line)].join('\n')}\n`
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** Time by name of operation, most first. */
function byName(operations: readonly GraphOperation[]): [string, { count: number; time: number }][] {
  const groups = new Map<string, { count: number; time: number }>()
  for (const { name, nanoseconds } of operations) {
    const group = groups.get(name) ?? { count: 0, time: 0 }
    groups.set(name, { count: group.count + 1, time: group.time + Math.max(0, nanoseconds) })
  }
  return [...groups].sort(([, a], [, b]) => b.time - a.time)
}

const style = `body{font:14px system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1rem;color:#1a1a2e;background:#fff}
table{border-collapse:collapse;width:100%;margin:1rem 0 2rem}th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #e4e4ec;
vertical-align:top}td{font-variant-numeric:tabular-nums}td code{font-size:12px;word-break:break-word}th{color:#667}
.bar{background:linear-gradient(90deg,#cfe0ff var(--share),transparent 0)}
@media(prefers-color-scheme:dark){body{background:#14141c;color:#e6e6f0}th,td{border-color:#2c2c3a}.bar{background:linear-gradient(90deg,#2b4a86 var(--share),transparent 0)}}`

/** Writes a captured graph as a self-contained page. */
export async function writeGraphPage(graph: GraphDescription, path: string): Promise<void> {
  const total = totalTime(graph.operations)
  const groups = byName(graph.operations).map(([name, { count, time }]) => {
    const share = total > 0 ? (100 * time) / total : 0
    return `<tr><td>${escaped(name)}</td><td>${count}</td><td>${timeOf(time)}</td><td class="bar" style="--share:${share}%">${share.toFixed(1)} %</td></tr>`
  })
  const rows = graph.operations.map(operation => {
    const cells = cellsOf(operation, total).map(cell => `<code>${escaped(cell)}</code>`)
    const share = (100 * shareOf(operation, total)).toFixed(2)
    return `<tr>${cells.map((cell, i) => (i === 2 ? `<td class="bar" style="--share:${share}%">` : '<td>') + cell).join('</td>')}</td></tr>`
  })
  await writeFile(
    path,
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>Captured graph</title><style>${style}</style>
<h1>Captured graph</h1><p>${[summaryOf(graph), ...graph.notes].map(escaped).join('</p><p>')}</p>
<h2>By operation</h2><table><tr><th>operation</th><th>calls</th><th>time</th><th>share</th></tr>${groups.join('')}</table>
<h2>In order</h2><table><tr>${columns.map(name => `<th>${name}</th>`).join('')}</tr>${rows.join('\n')}</table></html>\n`,
  )
}
