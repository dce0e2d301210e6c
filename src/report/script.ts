/** Draws the charts in the reader's browser with uPlot; drawn anew when the colour scheme changes. */
export const script = `
(() => {
  const curves = JSON.parse(document.getElementById('curves').textContent)
  const dark = matchMedia('(prefers-color-scheme: dark)')
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const steps = [1, 2, 5].flatMap(n => Array.from({ length: 9 }, (_, power) => n * 10 ** power)).sort((a, b) => a - b)
  const show = value => {
    if (value == null) return '–'
    const size = Math.abs(value)
    return size !== 0 && (size < 1e-4 || size >= 1e7) ? value.toExponential(2) : String(Number(value.toPrecision(4)))
  }
  const height = 220

  function draw(box) {
    const curve = curves[box.dataset.curve]
    const shown = [[curve.validation ? 'training' : curve.name, curve.train, '--train'], ['validation', curve.validation, '--validation']].filter(part => part[1])
    const epochs = Math.max(0, ...shown.map(part => part[1].length))
    if (epochs === 0) return null
    const x = Array.from({ length: epochs }, (_, i) => i + 1)
    const axis = { stroke: color('--muted'), grid: { stroke: color('--grid'), width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' }
    const series = shown.map(([label, , name]) => ({
      label, stroke: color(name), width: 2, value: (_, value) => show(value),
      points: { show: epochs <= 40, size: 5, fill: color(name) },
    }))
    const chart = new uPlot({
      width: box.clientWidth, height,
      scales: { x: { time: false, range: (_, min, max) => (min === max ? [min - 0.5, max + 0.5] : [min, max]) } },
      axes: [{ ...axis, incrs: steps, size: 32 }, { ...axis, size: 58, values: (_, values) => values.map(show) }],
      series: [{ label: 'epoch', value: (_, value) => (value == null ? '–' : String(value)) }, ...series],
      cursor: { sync: { key: 'epochs' }, drag: { x: false, y: false }, points: { size: 8 } },
      legend: { markers: { fill: (_, i) => color(shown[i - 1][2]) } },
      hooks: { setCursor: [u => { if (u.cursor.idx == null) u.setLegend({ idx: epochs - 1 }) }] },
    }, [x, ...shown.map(part => x.map((_, i) => part[1][i] ?? null))], box)
    chart.setLegend({ idx: epochs - 1 })
    return chart
  }

  const boxes = [...document.querySelectorAll('.chart')]
  let charts = boxes.map(draw)
  dark.addEventListener('change', () => {
    charts.forEach(chart => chart && chart.destroy())
    charts = boxes.map(draw)
  })
  new ResizeObserver(() => {
    charts.forEach((chart, i) => {
      const width = boxes[i].clientWidth
      if (chart && chart.width !== width) chart.setSize({ width, height })
    })
  }).observe(document.querySelector('main'))
})()
`
