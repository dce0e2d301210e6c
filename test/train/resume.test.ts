import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { manualSeed, nn, optim, tensor } from 'anneal'
import { fromArrays } from 'anneal/data'
import { loadCheckpoint, saveCheckpoint } from 'anneal/io'
import { type Callback, CsvLogger, EarlyStopping, type FitOptions, ModelCheckpoint, type Training } from 'anneal/train'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { flatOf, linear, quiet, regression, values } from './models'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anneal-resume-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const { x, y } = regression(60)
const labels = y.greater(0).cast('float32')

function network(): nn.Sequential {
  return new nn.Sequential(
    new nn.Linear(3, 8),
    new nn.BatchNorm1d(8),
    new nn.ReLU(),
    new nn.Dropout(0.4),
    new nn.Linear(8, 1),
  )
}

interface Run {
  options?: FitOptions
  optimizer?: () => optim.Optimizer
  data?: 'tensors' | 'dataset'
}

/** A run like that of a fresh process, whose numbers differ from those of any other until the checkpoint is loaded. */
async function run({ options = {}, optimizer = () => new optim.Adam({ lr: 0.01 }), data }: Run, seed = 1) {
  manualSeed(seed)
  const model = network()
  model.compile({ optimizer: optimizer(), loss: 'bceWithLogits', metrics: ['accuracy', 'rocAuc', 'f1'] })
  const all = { ...quiet, epochs: 5, batchSize: 8, validationSplit: 0.2, ...options }
  if (data === 'dataset') {
    const host = async (t: typeof x) => ({ data: (await t.data()) as Float32Array, shape: t.shape })
    const examples = fromArrays(await host(x), await host(labels)).shuffle({ seed: 9 })
    const { batchSize, validationSplit: _, ...rest } = all
    const history = await model.fit(examples.batch(batchSize), { ...rest, validation: [x, labels] })
    return { history, weights: await values(model), sampled: await flatOf(new nn.Linear(2, 2).weight) }
  }
  const history = await model.fit(x, labels, all)
  return { history, weights: await values(model), sampled: await flatOf(new nn.Linear(2, 2).weight) }
}

/** Saves at update `step` (or the end of an epoch) and fails: as near to a kill as one process comes. */
function dieAt(path: string, moment: 'stepEnd' | 'epochEnd', step: number): Callback {
  return {
    last: true,
    [moment]: async (training: Training) => {
      if (training.step !== step) return
      await training.save(path)
      throw new Error('killed')
    },
  }
}

let runs = 0

async function expectSame(given: Run, moment: 'stepEnd' | 'epochEnd', step: number): Promise<void> {
  const path = join(folder, `run${runs++}`)
  const withCallbacks = (callbacks: Callback[]) => ({
    ...given,
    options: { ...given.options, callbacks: [...(given.options?.callbacks ?? []), ...callbacks] },
  })
  const whole = await run(given)
  await expect(run(withCallbacks([dieAt(path, moment, step)]))).rejects.toThrow('killed')
  const resumed = await run({ ...given, options: { ...given.options, resume: path } }, 77)
  expect(resumed.history.metrics).toEqual(whole.history.metrics)
  expect(resumed.history.stopped).toBe(whole.history.stopped)
  expect(resumed.weights).toEqual(whole.weights)
  expect(resumed.sampled).toEqual(whole.sampled)
}

// 48 training examples in batches of 8: 6 updates an epoch.
describe('a resumed fit ends with the weights, history and random numbers of one left alone', () => {
  test.each([
    ['stepEnd', 1],
    ['stepEnd', 2],
    ['stepEnd', 9],
    ['stepEnd', 12],
    ['stepEnd', 30],
    ['epochEnd', 6],
    ['epochEnd', 18],
    ['epochEnd', 30],
  ] as const)('from %s of update %i', (moment, step) => expectSame({}, moment, step))

  test.each([
    ['sgd', () => new optim.SGD({ lr: 0.1, momentum: 0.9, nesterov: true })],
    ['adamw', () => new optim.AdamW({ lr: 0.01 })],
    ['rmsprop', () => new optim.RMSprop({ lr: 0.01, momentum: 0.5, centered: true })],
    ['adafactor', () => new optim.Adafactor()],
    ['lamb', () => new optim.LAMB()],
    ['lion', () => new optim.Lion({ lr: 0.001 })],
    ['adagrad', () => new optim.Adagrad()],
    ['adadelta', () => new optim.Adadelta()],
  ] as const)('with %s', (_, optimizer) => expectSame({ optimizer }, 'stepEnd', 10))

  test.each([
    ['cosine', () => new optim.CosineSchedule({ steps: 30, warmUp: 4 })],
    ['restarts through 0', () => new optim.CosineSchedule({ steps: 6, restarts: true })],
    ['one cycle', () => new optim.OneCycleSchedule({ steps: 30 })],
    ['step', () => new optim.StepSchedule(2, 0.5)],
    ['plateau', () => new optim.PlateauSchedule({ monitor: 'valLoss', patience: 0, threshold: 10 })],
    [
      'warm-up then plateau',
      () => new optim.WarmUpSchedule(5, new optim.PlateauSchedule({ patience: 0, threshold: 10 })),
    ],
  ] as const)('with schedule %s', async (_, schedule) => {
    // A schedule with state is made anew for each run.
    for (const [moment, step] of [
      ['stepEnd', 12],
      ['stepEnd', 16],
      ['stepEnd', 12],
      ['epochEnd', 12],
    ] as const) {
      const given = {
        get options() {
          return { schedule: schedule() }
        },
      }
      await expectSame(given, moment, step)
    }
  })

  test('with accumulation, clipping and weights', () => {
    const sampleWeight = tensor(Float32Array.from({ length: 60 }, (_, i) => (i % 3) / 2))
    return expectSame({ options: { accumulate: 4, clipNorm: 0.5, sampleWeight, classWeight: { 0: 2 } } }, 'stepEnd', 5)
  })

  test('from a dataset that shuffles itself', () => expectSame({ data: 'dataset' }, 'stepEnd', 11))

  test('without shuffling, with a seed of its own', () =>
    expectSame({ options: { shuffle: false, seed: 3 } }, 'stepEnd', 8))

  test('with early stopping, whose best weights come from before the kill', async () => {
    const given = {
      get options() {
        const stopping = new EarlyStopping({ monitor: 'lr', mode: 'min', patience: 2, restoreBest: true })
        return { epochs: 20, callbacks: [stopping] }
      },
    }
    for (const epoch of [1, 2, 3]) await expectSame(given, 'epochEnd', 6 * epoch)
  })
})

test('a checkpoint of the end is resumed for more epochs', async () => {
  const path = join(folder, 'more')
  const whole = await run({ options: { epochs: 4 } })
  await run({ options: { epochs: 2, callbacks: [new ModelCheckpoint(path)] } })
  const resumed = await run({ options: { epochs: 4, callbacks: [new ModelCheckpoint(path)], resume: path } }, 5)
  expect(resumed.history.metrics).toEqual(whole.history.metrics)
  expect(resumed.weights).toEqual(whole.weights)
  const again = await run({ options: { epochs: 4, resume: path } }, 6)
  expect(again.weights).toEqual(whole.weights)
  expect(again.history.epochs).toBe(4)
})

test('the steps that callbacks and schedules see go on', async () => {
  const path = join(folder, 'steps')
  await expect(run({ options: { callbacks: [dieAt(path, 'stepEnd', 8)] } })).rejects.toThrow('killed')
  const seen: number[][] = []
  const callbacks = [{ stepEnd: ({ epoch, step }: Training) => void seen.push([epoch, step]) }]
  await run({ options: { epochs: 2, resume: path, callbacks } })
  expect(seen).toEqual([
    [1, 9],
    [1, 10],
    [1, 11],
    [1, 12],
  ])
})

test('states go to callbacks of the same class, whatever stands beside them', async () => {
  class Counter implements Callback {
    epochs = 0
    epochEnd(): void {
      this.epochs++
    }
    state(): number {
      return this.epochs
    }
    restore(state: unknown): void {
      this.epochs = state as number
    }
  }
  const path = join(folder, 'kinds')
  await run({ options: { epochs: 3, callbacks: [new Counter(), new ModelCheckpoint(path)] } })
  const counter = new Counter()
  await run({ options: { epochs: 4, resume: path, callbacks: [new EarlyStopping({ patience: 9 }), counter] } })
  expect(counter.epochs).toBe(4)
})

describe('the best checkpoint stays that of the best epoch when a fit dies', () => {
  const scores = [5, 4, 3, 1, 2, 2.5]
  const score = {
    epochEnd: ({ epoch }: Training, logs: Record<string, number>) => void Object.assign(logs, { score: scores[epoch] }),
  }
  const dying = (moment: 'epochStart' | 'epochDone', epoch: number): Callback => ({
    last: true,
    [moment]: (training: Training) => {
      if (training.epoch === epoch) throw new Error('killed')
    },
  })

  test.each([
    ['in the next epoch', dying('epochStart', 4)],
    ['between the two saves', dying('epochDone', 3)],
  ])('%s, and goes on from the last', async (when, death) => {
    const [last, best, worst] = ['last', 'best', 'worst'].map(name => join(folder, `${when} ${name}`)) as [
      string,
      string,
      string,
    ]
    const fit = (more: Callback[], resume?: string) => {
      const keep = { keep: 'best', monitor: 'score' } as const
      const ofBest = [
        new ModelCheckpoint(best, { ...keep, mode: 'min' }),
        new ModelCheckpoint(worst, { ...keep, mode: 'max' }),
      ]
      return run({ options: { epochs: 6, resume, callbacks: [score, new ModelCheckpoint(last), ...more, ...ofBest] } })
    }
    await expect(fit([death])).rejects.toThrow('killed')
    await fit([], last)
    const epochs = await Promise.all([last, best, worst].map(async path => (await loadCheckpoint(path)).epoch))
    expect(epochs).toEqual([6, 4, 1])
  })
})

test('a CSV log has each epoch once after a resume', async () => {
  const path = join(folder, 'csv')
  const file = join(folder, 'csv.csv')
  const log = (epochs: number, more: Callback[], resume?: string) =>
    run({ options: { epochs, resume, callbacks: [new CsvLogger(file), ...more] } })
  await expect(log(4, [dieAt(path, 'stepEnd', 15)])).rejects.toThrow('killed')
  // Another process came as far as epoch 3 after that checkpoint.
  await log(4, [], path)
  await log(5, [], path)
  const epochs = (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .slice(1)
    .map(line => line.split(',')[0])
  expect(epochs).toEqual(['0', '1', '2', '3', '4'])
})

test('no checkpoint yet: from the start; one of something else: refused', async () => {
  const fresh = await run({ options: { epochs: 1, resume: join(folder, 'none') } })
  expect(fresh.history.epochs).toBe(1)
  const path = join(folder, 'other')
  await saveCheckpoint(path, { model: network().stateDict(), epoch: 1, step: 1 })
  await expect(run({ options: { resume: path } })).rejects.toThrow('is not a checkpoint of a fit')
  const good = join(folder, 'good')
  await run({ options: { epochs: 1, callbacks: [new ModelCheckpoint(good)] } })
  const other = network().compile({ optimizer: new optim.SGD(), loss: 'bceWithLogits' })
  const untouched = await values(other)
  await expect(other.fit(x, labels, { ...quiet, resume: good })).rejects.toThrow(
    /resume: .*good does not fit: .*the state is of Adam.*resume with the model and the optimizer/,
  )
  expect(await values(other)).toEqual(untouched)
  const model = linear(3, 1).compile({ optimizer: 'adam', loss: 'mse' })
  const before = await values(model)
  await expect(model.fit(x, y, { ...quiet, resume: good })).rejects.toThrow(/names do not match/)
  expect(await values(model)).toEqual(before)
})

describe('in processes of their own', () => {
  const program = join(__dirname, 'fixtures', 'train.cjs')

  test('killed at any moment, resumed until it ends: the same bit for bit', { timeout: 120_000 }, async () => {
    const left = await promisify(execFile)(process.execPath, [program, join(folder, 'left-alone')])
    const path = join(folder, 'killed')
    let kills = 0
    for (const wait of [5, 30, 60, 15, 45]) {
      const child = spawn(process.execPath, [program, path], { stdio: 'ignore' })
      const ended = new Promise<string | null>(resolve => child.once('close', (_, signal) => resolve(signal)))
      // After the first checkpoint there is, at moments that fall into saves and between them.
      const first = new Promise<void>(resolve => child.once('spawn', () => resolve()))
      await first
      while (!existsSync(path) && child.exitCode === null) await pause(5)
      await pause(wait + 250 * Number(kills > 0))
      child.kill('SIGKILL')
      if ((await ended) === 'SIGKILL') kills++
    }
    expect(kills).toBeGreaterThan(1)
    await cp(path, join(folder, 'kept'), { recursive: true })
    const { stdout } = await promisify(execFile)(process.execPath, [program, path])
    expect(stdout).toBe(left.stdout)
    expect(JSON.parse(stdout).epochs).toBe(12)
  })
})
