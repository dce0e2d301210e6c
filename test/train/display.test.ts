import { Writable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'
import { tensor } from 'anneal'
import { resolveMetric } from 'anneal/metrics'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDisplay } from '../../src/train/display'
import { Meters } from '../../src/train/meter'
import { linear, regression } from './models'

describe('what fit shows', () => {
  let text = ''
  beforeEach(() => {
    text = ''
    vi.spyOn(process.stderr, 'write').mockImplementation(chunk => {
      text += chunk
      return true
    })
  })
  afterEach(() => vi.restoreAllMocks())

  const { x, y } = regression(40)
  const fit = (options: object) =>
    linear(3, 1)
      .compile({ optimizer: 'sgd', loss: 'mse', metrics: ['mae'] })
      .fit(x, y, options)

  test('one line per epoch where there is no terminal, also with accumulation', async () => {
    const history = await fit({ epochs: 2, accumulate: 3, validation: [x, y] })
    const lines = text.trim().split('\n')
    expect(lines).toHaveLength(2)
    const { loss, mae } = history.metrics
    expect(lines[1]).toMatch(
      /^Epoch 2\/2 · [\d.]+s · loss [\d.]+ · mae [\d.]+ · valLoss [\d.]+ · valMae [\d.]+ · lr 0\.0100 · \S+ examples\/s$/,
    )
    expect(lines[1]).toContain(`loss ${loss![1]!.toFixed(4)} · mae ${mae![1]!.toFixed(4)}`)
  })

  test('nothing where it is switched off', async () => {
    await fit({ progress: false })
    expect(text).toBe('')
  })
})

class Terminal extends Writable {
  readonly isTTY = true
  readonly columns = 200
  text = ''
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk
    done()
  }
}

test('a terminal shows losses and quick metrics as they come, and counts every batch', async () => {
  const stream = new Terminal()
  const display = createDisplay({ epochs: 1, stepsPerEpoch: 300, stream })
  const metrics = ['accuracy', 'rocAuc'].map(name => ({ key: '', name, metric: resolveMetric(name) }))
  const meters = new Meters(metrics)
  meters.update([['', tensor([1, -1]), tensor([1, 1])]])
  const result = vi.spyOn(metrics[1]!.metric, 'result')
  display.epochStart(0)
  for (let i = 0; i < 300; i++) {
    await display.batch(i, { loss: 1 / (i + 1) }, 4, meters)
    if (i % 100 === 0) await pause(300)
  }
  display.epochEnd(0, { loss: 0.5, accuracy: 0.5, rocAuc: 1 })
  display.close()
  const states = stripVTControlCharacters(stream.text)
  expect(states).toContain('accuracy 0.5000')
  expect(states).toMatch(/300\/300 · loss 0\.5000 · accuracy 0\.5000 · rocAuc 1 · \S+ examples\/s/)
  expect(result).not.toHaveBeenCalled() // dear: only at the end of an epoch
})
