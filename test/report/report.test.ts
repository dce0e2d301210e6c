import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Report, writeReport } from '../../src/report'
import { best, curvesOf } from '../../src/report/curves'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anneal-report-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function render(report: Report): Promise<string> {
  const path = join(folder, 'deep', 'report.html')
  await writeReport(path, report)
  expect(await readdir(join(folder, 'deep'))).toEqual(['report.html'])
  return readFile(path, 'utf8')
}

const full: Report = {
  title: 'Digits',
  history: { lr: [0.1, 0.01], accuracy: [0.5, 0.75], loss: [1, NaN], valLoss: [0.9, 0.8], val_accuracy: [0.6, 0.7] },
  summary: 'Linear [64, 10]',
  config: { epochs: 2, optimizer: { name: 'adam' } },
  confusion: {
    labels: ['cat', 'dog'],
    matrix: [
      [3, 1],
      [0, 0],
    ],
  },
  metrics: { accuracy: 0.98765, loss: 1e-9 },
  environment: { Device: 'cpu' },
}

const embedded = (html: string) =>
  JSON.parse(/<script type="application\/json" id="curves">(.*)<\/script>/.exec(html)![1]!)

test('the report holds curves, results, confusion matrix, summary, configuration and environment', async () => {
  const html = await render(full)
  expect(embedded(html)).toEqual([
    { name: 'loss', train: [1, null], validation: [0.9, 0.8] },
    { name: 'accuracy', train: [0.5, 0.75], validation: [0.6, 0.7] },
    { name: 'lr', train: [0.1, 0.01] },
  ])
  expect(html).toContain('<th>accuracy</th><td>0.75</td><td>0.7</td><td>0.7 <small>epoch 2</small></td><td>0.9877</td>')
  expect(html).toContain('<th>loss</th><td>NaN</td><td>0.8</td><td>0.8 <small>epoch 2</small></td><td>1.000e-9</td>')
  expect(html).toContain('title="cat as dog: 1 of 4"><b>1</b><small>25%</small>')
  expect(html).toContain('title="dog as dog: 0 of 0"><b>0</b><small>0%</small>')
  for (const text of ['Linear [64, 10]', '{&quot;name&quot;:&quot;adam&quot;}', 'Device', process.version])
    expect(html).toContain(text)
})

test('nothing is loaded from elsewhere', async () => {
  const html = await render(full)
  expect(html).toContain("default-src 'none'")
  expect(html).not.toMatch(/<link|<img|<iframe|\ssrc=|\shref=|@import|url\(/)
})

test('text and data cannot break out of their place', async () => {
  const evil = `</script><script>alert(1)</script><!--"'&`
  const html = await render({
    title: evil,
    history: { [evil]: [1], loss: [1] },
    summary: evil,
    config: { [evil]: evil, nested: [evil] },
    confusion: { labels: [evil], matrix: [[1]] },
    metrics: { [evil]: 1 },
    environment: { [evil]: evil },
  })
  expect(html).not.toContain('<script>alert')
  expect(html.match(/<script/g)).toHaveLength(3)
  expect(html.match(/<\/script/g)).toHaveLength(3)
  expect(embedded(html)[1].name).toBe(evil)
})

test('a report of nothing, of one epoch or without validation is still a report', async () => {
  expect(await render({ title: 'Empty', history: {} })).toContain('0 epochs')
  expect(await render({ title: 'One', history: { loss: [Infinity] } })).toContain('1 epoch<')
  expect(await render({ title: 'Tested', history: {}, metrics: { accuracy: 1 } })).toContain('<th>accuracy</th>')
})

test('a confusion matrix must fit its labels', async () => {
  const confusion = { labels: ['a', 'b'], matrix: [[1, 2]] }
  await expect(render({ title: '', history: {}, confusion })).rejects.toMatchObject({
    code: 'ERR_SHAPE',
    message: 'report: confusion matrix: expected [2,2] for 2 labels, got rows of [2]',
  })
})

test('training and validation values are paired by name', () => {
  expect(
    curvesOf({ value: [1], val: [2], valid: [3], valF1: [4], f1: [5] }).map(c => [c.name, c.train, c.validation]),
  ).toEqual([
    ['value', [1], undefined],
    ['val', [2], undefined],
    ['valid', [3], undefined],
    ['f1', [5], [4]],
  ])
  expect(best('loss', [NaN, 3, 2, 2])).toEqual({ value: 2, epoch: 3 })
  expect(best('accuracy', [0.5, 0.9, 0.9])).toEqual({ value: 0.9, epoch: 2 })
  expect(best('accuracy', [NaN])).toBeUndefined()
})
