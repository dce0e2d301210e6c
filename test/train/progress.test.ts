import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { createProgress } from '../../src/train/progress'

class Sink extends Writable {
  text = ''
  readonly columns: number
  constructor(
    readonly isTTY: boolean,
    columns = 120,
  ) {
    super()
    this.columns = columns
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk
    done()
  }
}

// What a terminal shows at the end: each carriage return to column 1 (ESC[1G) starts the line anew.
function screen(text: string): string[] {
  return text.split('\n').map(line => stripVTControlCharacters(line.split('\u001b[1G').at(-1) as string))
}

function train(stream: Sink, stepsPerEpoch?: number, batchSize?: number) {
  const progress = createProgress({ epochs: 10, stepsPerEpoch, batchSize, stream })
  for (const epoch of [0, 9]) {
    progress.epochStart(epoch)
    for (let step = 0; step < 4; step++) progress.step(step, { loss: 1 / (step + 1), accuracy: step / 4 })
    progress.epochEnd(epoch, { loss: 0.25, accuracy: 0.75, valLoss: NaN })
  }
  progress.stop()
}

test('without a terminal there is one line per epoch and no control character', () => {
  const stream = new Sink(false)
  train(stream, 4, 32)
  const lines = stream.text.split('\n')
  expect(lines).toHaveLength(3)
  expect(lines[0]).toMatch(
    /^Epoch {2}1\/10 · [\d.]+s · loss 0\.2500 · accuracy 0\.7500 · valLoss NaN · \S+ examples\/s$/,
  )
  expect(lines[1]).toMatch(/^Epoch 10\/10 · /)
  expect(stream.text.replaceAll('\n', '')).not.toMatch(/\p{Control}/u)
})

test('control characters in a name do not reach the output', () => {
  const stream = new Sink(false)
  const progress = createProgress({ epochs: 1, stream })
  progress.epochStart(0)
  progress.epochEnd(0, { 'lo\u001b[31mss\n': 1e-7, big: 12_345_678, whole: 3 })
  expect(stream.text).toMatch(/^Epoch 1\/1 · [\d.]+s · lo\[31mss 1\.000e-7 · big 1\.235e\+7 · whole 3\n$/)
})

test('a terminal gets a live bar whose last state stays', () => {
  const stream = new Sink(true)
  train(stream, 4, 32)
  const lines = screen(stream.text)
  expect(lines).toHaveLength(3)
  expect(lines[0]).toMatch(
    /^Epoch {2}1\/10 ━{24} 4\/4 · loss 0\.2500 · accuracy 0\.7500 · valLoss NaN · \S+ examples\/s · [\d.]+s$/,
  )
  expect(lines[1]).toMatch(/^Epoch 10\/10 ━{24} 4\/4 · /)
  expect(stream.text).toContain('0/4')
})

test('without a number of steps the first epoch counts them', () => {
  const stream = new Sink(true)
  train(stream)
  const lines = screen(stream.text)
  expect(lines[0]).toMatch(/^Epoch {2}1\/10 ━{24} 4\/4 .* steps\/s/)
  expect(stream.text).toContain('step 0')
  expect(lines[1]).toMatch(/4\/4/)
})

test('a narrow terminal gets a shorter bar', () => {
  const stream = new Sink(true, 75)
  train(stream, 4)
  expect(screen(stream.text)[0]).toMatch(/^Epoch {2}1\/10 ━{8} 4\/4 · loss 0\.2500 · accuracy 0\.7500 · valLoss NaN/)
})

test('lines are cut at the width of the terminal', () => {
  const stream = new Sink(true, 40)
  train(stream, 4)
  for (const line of screen(stream.text)) expect(line.length).toBeLessThanOrEqual(40)
})

test('stop in the middle of an epoch ends the line, and twice does no harm', () => {
  const stream = new Sink(true)
  const progress = createProgress({ epochs: 1, stepsPerEpoch: 4, stream })
  progress.epochStart(0)
  progress.step(1, { loss: 0.5 }, 64)
  progress.stop()
  progress.stop()
  expect(screen(stream.text)).toEqual([expect.stringMatching(/━{12}─{12} 2\/4 · loss 0\.5000 · .* left$/), ''])
})

test('a standard error whose reader is gone does not end the training', async () => {
  const program = `
    const { nn, tensor } = require(${JSON.stringify(join(__dirname, '..', '..', 'dist'))})
    const pause = () => new Promise(resolve => setTimeout(resolve, 20))
    const model = new nn.Linear(1, 1).compile({ optimizer: 'sgd', loss: 'mse' })
    const x = tensor([[1], [2]])
    model.fit(x, x, { epochs: 10, callbacks: [{ epochEnd: pause }] }).then(history => console.log(history.epochs))`
  const child = spawn(process.execPath, ['-e', program])
  child.stderr.once('data', () => child.stderr.destroy())
  let output = ''
  child.stdout.on('data', chunk => {
    output += chunk
  })
  const code = await new Promise(resolve => child.once('close', resolve))
  expect([code, output]).toEqual([0, '10\n'])
})
