import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { best, type Curve, curvesOf, isLearningRate } from './curves'
import type { Report } from './index'
import { script } from './script'
import { style } from './style'

const assets = createRequire(__filename)

/** The report as one HTML document. */
export function renderReport(report: Report): string {
  const curves = curvesOf(report.history)
  const epochs = Math.max(0, ...Object.values(report.history).map(values => values.length))
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escapeHtml(report.title)}</title>
<style>${asset('uPlot.min.css')}${style}</style>
</head>
<body>
<main>
<header><h1>${escapeHtml(report.title)}</h1><p>${epochs} ${epochs === 1 ? 'epoch' : 'epochs'}</p></header>
${tiles(report.metrics ?? lastOf(curves))}
${charts(curves)}
${results(curves, report.metrics)}
${confusionMatrix(report.confusion)}
${section('Model', report.summary && `<pre>${escapeHtml(report.summary)}</pre>`)}
<div class="pair">${section('Configuration', pairs(report.config))}${section('Environment', pairs(report.environment))}</div>
${allValues(report.history, epochs)}
</main>
<script type="application/json" id="curves">${embed(curves)}</script>
<script>${asset('uPlot.iife.min.js')}</script>
<script>${script}</script>
</body>
</html>
`
}

function asset(name: string): string {
  return readFileSync(assets.resolve(`uplot/dist/${name}`), 'utf8')
}

export function escapeHtml(text: unknown): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
  return String(text).replace(/[&<>"']/g, char => entities[char] as string)
}

/** JSON that may stand in a script element: no `<`, so that nothing can close the element or open a comment. */
function embed(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c')
}

function section(title: string, content: string | undefined, extra = ''): string {
  return content ? `<section class="card ${extra}"><h2>${title}</h2>${content}</section>` : ''
}

function tiles(metrics: Report['metrics']): string {
  const entries = Object.entries(metrics ?? {})
  if (entries.length === 0) return ''
  const items = entries.map(
    ([name, value]) => `<div class="tile"><b>${number(value)}</b><span>${escapeHtml(name)}</span></div>`,
  )
  return `<div class="tiles">${items.join('')}</div>`
}

function charts(curves: Curve[]): string {
  const cards = curves.map(
    ({ name }, index) =>
      `<section class="card"><h2>${escapeHtml(name)}</h2><div class="chart" data-curve="${index}"></div></section>`,
  )
  return `<div class="charts">${cards.join('')}</div>`
}

/** What the curves end with: of the validation where there is one. */
function lastOf(curves: Curve[]): Record<string, number> {
  const last = curves
    .filter(curve => !isLearningRate(curve))
    .map(({ name, train, validation }): [string, number] => [name, (validation ?? train ?? []).at(-1) ?? Number.NaN])
  return Object.fromEntries(last)
}

function results(curves: Curve[], metrics: Report['metrics']): string | undefined {
  const shown = curves.filter(curve => !isLearningRate(curve))
  const names = new Set([...shown.map(curve => curve.name), ...Object.keys(metrics ?? {})])
  if (names.size === 0) return ''
  const rows = [...names].map(name => {
    const { train, validation } = shown.find(curve => curve.name === name) ?? {}
    const top = best(name, validation ?? train ?? [])
    const bestText = top ? `${number(top.value)} <small>epoch ${top.epoch}</small>` : ''
    const cells = [
      number(train?.at(-1)),
      number(validation?.at(-1)),
      bestText,
      ...(metrics ? [number(metrics[name])] : []),
    ]
    return `<tr><th>${escapeHtml(name)}</th>${cells.map(cell => `<td>${cell}</td>`).join('')}</tr>`
  })
  const titles = ['Metric', 'Training', 'Validation', 'Best', ...(metrics ? ['Final'] : [])]
  const head = titles.map(title => `<th>${title}</th>`).join('')
  const table = `<table class="results"><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table>`
  return section('Results', `<div class="scroll">${table}</div>`)
}

function confusionMatrix(confusion: Report['confusion']): string {
  if (!confusion) return ''
  const { labels, matrix } = confusion
  const head = labels.map(label => `<th scope="col">${escapeHtml(label)}</th>`).join('')
  const rows = labels.map((label, row) => {
    const counts = matrix[row] as readonly number[]
    const total = counts.reduce((sum, count) => sum + count, 0)
    const cells = counts.map((count, column) => heatCell(count, total, `${label} as ${labels[column]}`, row === column))
    return `<tr><th scope="row">${escapeHtml(label)}</th>${cells.join('')}</tr>`
  })
  const table = `<table class="heat"><thead><tr><td class="corner"></td><th colspan="${labels.length}" class="axis">Predicted</th></tr>
<tr><th class="axis">Actual</th>${head}</tr></thead><tbody>${rows.join('')}</tbody></table>`
  const note = '<p class="note">Counts, and the share of the actual class.</p>'
  return section('Confusion matrix', `<div class="scroll">${table}</div>${note}`)
}

function heatCell(count: number, total: number, what: string, right: boolean): string {
  const share = total > 0 ? count / total : 0
  const kind = count === 0 ? 'none' : `${right ? 'right' : 'wrong'}${share > 0.4 ? ' strong' : ''}`
  const percent = `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`
  const strength = Math.sqrt(share) * 100 // so that rare mistakes are seen
  const heat = `style="--share:${strength.toFixed(0)}%" title="${escapeHtml(what)}: ${count} of ${total}"`
  return `<td class="${kind}" ${heat}><b>${count}</b><small>${percent}</small></td>`
}

function pairs(values: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const entries = Object.entries(values ?? {})
  if (entries.length === 0) return undefined
  const text = (value: unknown) => (typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value))
  const rows = entries.map(([key, value]) => `<tr><th>${escapeHtml(key)}</th><td>${escapeHtml(text(value))}</td></tr>`)
  return `<table class="pairs"><tbody>${rows.join('')}</tbody></table>`
}

function allValues(history: Report['history'], epochs: number): string {
  const names = Object.keys(history)
  if (names.length === 0) return ''
  const head = ['Epoch', ...names].map(name => `<th>${escapeHtml(name)}</th>`).join('')
  const rows = Array.from({ length: epochs }, (_, epoch) => {
    const cells = names.map(name => `<td>${number(history[name]?.[epoch])}</td>`)
    return `<tr><th>${epoch + 1}</th>${cells.join('')}</tr>`
  })
  const table = `<table class="results"><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table>`
  return `<details class="card"><summary>All values</summary><div class="scroll">${table}</div></details>`
}

/** Four significant digits; empty where there is no value. */
function number(value: number | undefined): string {
  if (value === undefined) return ''
  if (!Number.isFinite(value)) return String(value)
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(3)
  return Number.isInteger(value) && size >= 10 ? String(value) : String(Number(value.toPrecision(4)))
}
