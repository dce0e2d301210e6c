/** The report's style sheet: light by default, dark where the reader's system is. */
export const style = `
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #fff; --text: #16181d; --muted: #646b78; --line: #e2e5ea; --grid: #eceef2;
  --train: #2563eb; --validation: #d9580b; --right: #2563eb; --wrong: #d9580b; --strong: #fff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1115; --card: #181b21; --text: #e7e9ee; --muted: #9aa2b1; --line: #2a2f38; --grid: #242932;
    --train: #6ea8fe; --validation: #fb9a4b; --right: #6ea8fe; --wrong: #fb9a4b; --strong: #0f1115;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; display: grid; gap: 20px; grid-template-columns: minmax(0, 1fr); }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; }
h1 { margin: 0; font-size: 26px; line-height: 1.2; letter-spacing: -0.01em; overflow-wrap: anywhere; }
header p { margin: 0; color: var(--muted); }
h2 { margin: 0 0 12px; font-size: 15px; font-weight: 600; overflow-wrap: anywhere; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; min-width: 0; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 18px; min-width: 0; }
.tile b { display: block; font-size: 25px; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--muted); font-size: 13px; overflow-wrap: anywhere; }
.charts { display: grid; gap: 20px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
.charts:empty { display: none; }
.chart { min-height: 250px; }
.pair { display: grid; gap: 20px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); align-items: start; }
.pair:empty { display: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.results, .pairs { width: 100%; }
.results th, .results td, .pairs th, .pairs td { padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); text-align: left; }
.results td, .results th + th { text-align: right; padding: 7px 0 7px 20px; white-space: nowrap; }
.results thead th, .pairs th { color: var(--muted); font-weight: 500; font-size: 13px; }
.results tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
.pairs th { width: 34%; vertical-align: top; }
.pairs td { overflow-wrap: anywhere; }
small { color: var(--muted); }
.heat { border-collapse: separate; border-spacing: 3px; margin: 0 auto; }
.heat th { font-weight: 500; font-size: 13px; padding: 2px 8px; color: var(--muted); }
.heat th[scope=row] { text-align: right; white-space: nowrap; position: sticky; left: 0; background: var(--card); color: var(--text); }
.heat th[scope=col] { color: var(--text); }
.heat .axis { font-size: 12px; text-transform: uppercase; letter-spacing: 0.06em; }
.heat td:not(.corner) { min-width: 62px; padding: 7px 6px; text-align: center; border-radius: 6px; line-height: 1.25; }
.heat td b { display: block; font-weight: 600; }
.heat .none { background: var(--grid); }
.heat .right { background: color-mix(in srgb, var(--right) var(--share), var(--grid)); }
.heat .wrong { background: color-mix(in srgb, var(--wrong) var(--share), var(--grid)); }
.heat .none b { font-weight: 400; color: var(--muted); }
.heat .strong { color: var(--strong); }
.heat .right small, .heat .wrong small { color: inherit; opacity: 0.85; }
.note { margin: 12px 0 0; color: var(--muted); font-size: 13px; text-align: center; }
pre { margin: 0; overflow-x: auto; font: 13px/1.5 ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
summary { cursor: pointer; font-weight: 600; }
details .scroll { margin-top: 12px; }
.u-legend { text-align: left; font-size: 13px; padding-left: 52px; }
.u-legend .u-series > * { padding: 2px 3px; }
.u-legend .u-series th { font-weight: 400; color: var(--muted); }
.u-legend .u-series th::after { content: none; }
.u-legend .u-marker { width: 10px; height: 10px; border-radius: 3px; margin-right: 5px; }
.u-legend .u-series:first-child .u-marker { display: none; }
.u-legend .u-series { margin-right: 8px; }
.u-legend .u-value { font-variant-numeric: tabular-nums; font-weight: 600; min-width: 3.6em; display: inline-block; }
.u-legend .u-series:first-child .u-value { min-width: 2em; }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
`
