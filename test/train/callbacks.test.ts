import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { nn, optim, tensor } from 'anneal'
import { loadCheckpoint } from 'anneal/io'
import { Accuracy, ConfusionMatrix } from 'anneal/metrics'
import {
  type Callback,
  CsvLogger,
  EarlyStopping,
  type Logs,
  ModelCheckpoint,
  TensorBoard,
  type Training,
} from 'anneal/train'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { flatOf, linear, quiet, regression, values } from './models'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anneal-train-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const { x, y } = regression(32)
const compiled = (lr = 0.05) => linear(3, 1).compile({ optimizer: new optim.SGD({ lr }), loss: 'mse' })

describe('custom callbacks', () => {
  function recorder(calls: string[], name: string, last = false): Callback {
    const note = (moment: string) => async (training?: Training) => {
      await pause(1)
      calls.push(`${name} ${moment}${training ? ` ${training.epoch}/${training.step}` : ''}`)
    }
    return {
      last,
      fitStart: note('fitStart'),
      epochStart: note('epochStart'),
      stepEnd: note('stepEnd'),
      epochEnd: note('epochEnd'),
      fitEnd: note('fitEnd'),
      close: note('close') as () => Promise<void>,
    }
  }

  test('are called in order, each awaited, those that are last after the others', async () => {
    const calls: string[] = []
    const callbacks = [recorder(calls, 'c', true), recorder(calls, 'a'), recorder(calls, 'b')]
    await compiled().fit(x, y, { ...quiet, epochs: 2, batchSize: 16, callbacks })
    const moments = calls.filter(call => call.startsWith('a ')).map(call => call.slice(2))
    expect(moments).toEqual([
      'fitStart 0/0',
      'epochStart 0/0',
      'stepEnd 0/1',
      'stepEnd 0/2',
      'epochEnd 0/2',
      'epochStart 1/2',
      'stepEnd 1/3',
      'stepEnd 1/4',
      'epochEnd 1/4',
      'fitEnd 2/4',
      'close',
    ])
    const order = calls.filter(call => !call.includes('close')).map(call => call[0])
    expect(order.join('')).toBe('abc'.repeat(10))
  })

  test('an error of close is thrown where the fit succeeded, and does not hide that of a fit', async () => {
    const close = () => Promise.reject(new Error('cannot close'))
    const fit = (callback: Callback) => compiled().fit(x, y, { ...quiet, callbacks: [callback] })
    await expect(fit({ close })).rejects.toThrow('cannot close')
    const epochEnd = () => Promise.reject(new Error('the reason'))
    await expect(fit({ epochEnd, close })).rejects.toThrow('the reason')
  })

  test('stepEnd comes after each update, with values that lag and become those of the epoch', async () => {
    const seen: Logs[] = []
    const model = compiled(0)
    const callbacks = [{ stepEnd: (_: Training, logs: Logs) => void seen.push(logs) }]
    const history = await model.fit(x, y, { ...quiet, batchSize: 3, accumulate: 2, shuffle: false, callbacks })
    expect(seen).toHaveLength(6) // 11 batches: the last update has one
    expect(seen.at(-1)!.loss).toBe(history.metrics.loss![0])
    const first = await model.evaluate(x.index({ end: 6 }), y.index({ end: 6 }))
    expect(seen.some(logs => Math.abs(logs.loss! - first.loss!) < 1e-5 || logs.loss === undefined)).toBe(true)
  })

  test('stop ends the fit after the epoch, with its reason', async () => {
    const callbacks = [{ stepEnd: (training: Training) => training.stop('enough') }]
    const history = await compiled().fit(x, y, { ...quiet, epochs: 5, callbacks, validation: [x, y] })
    expect(history.epochs).toBe(1)
    expect(history.metrics.valLoss).toHaveLength(1)
    expect(history.stopped).toBe('enough')
  })

  test('an error ends the fit; close is called, fitEnd is not, and the model keeps its mode', async () => {
    const calls: string[] = []
    const failing = { epochEnd: () => Promise.reject(new Error('no space')) }
    const model = compiled()
    model.eval()
    const fit = model.fit(x, y, { ...quiet, callbacks: [recorder(calls, 'a'), failing] })
    await expect(fit).rejects.toThrow('no space')
    expect(calls.at(-1)).toBe('a close')
    expect(calls.some(call => call.includes('fitEnd'))).toBe(false)
    expect(model.training).toBe(false)
  })

  test('may evaluate and predict in the middle of an epoch without disturbing it', async () => {
    const run = async (callbacks: Callback[]) => {
      const model = new nn.Sequential(new nn.BatchNorm1d(3), new nn.Linear(3, 1))
      model.loadStateDict(initial)
      const accuracy = new Accuracy()
      model.compile({ optimizer: new optim.Adam(), loss: 'bceWithLogits', metrics: [accuracy, 'rocAuc'] })
      const history = await model.fit(x, labels, { ...quiet, epochs: 2, batchSize: 8, seed: 1, callbacks })
      return { history: history.metrics, weights: await values(model) }
    }
    const labels = y.greater(0).cast('float32')
    const initial = new nn.Sequential(new nn.BatchNorm1d(3), new nn.Linear(3, 1)).stateDict()
    const nosy = {
      stepEnd: async ({ model }: Training) => {
        await model.evaluate(x, labels)
        await model.predict(x)
        void model.predict(x) // and not awaited
      },
    }
    expect(await run([nosy])).toEqual(await run([]))
  })

  test('an object given as a metric holds what the last evaluation saw', async () => {
    const confusion = new ConfusionMatrix()
    const labels = tensor(Int32Array.from({ length: 32 }, (_, i) => i % 2))
    const model = linear(3, 2).compile({ optimizer: 'sgd', loss: 'crossEntropy', metrics: [confusion] })
    await model.fit(x, labels, quiet)
    expect(await confusion.matrix()).toEqual([])
    await model.evaluate(x, labels)
    expect((await confusion.matrix()).flat().reduce((a, b) => a + b)).toBe(32)
  })
})

describe('early stopping', () => {
  /** The epochs that a fit has when the monitored value goes through `list`. */
  async function epochsWith(list: number[], options: ConstructorParameters<typeof EarlyStopping>[0]): Promise<number> {
    const stopping = new EarlyStopping(options)
    const script = {
      epochEnd: ({ epoch }: Training, logs: Logs) => {
        Object.assign(logs, { score: list[epoch] })
      },
    }
    const history = await compiled(0).fit(x, y, { ...quiet, epochs: list.length, callbacks: [script, stopping] })
    return history.epochs
  }

  test.each([
    [{ monitor: 'score', mode: 'min', patience: 2 }, [5, 4, 4, 4, 1], 4],
    [{ monitor: 'score', mode: 'min' }, [5, 4, 5, 1], 3],
    [{ monitor: 'score', patience: 1 }, [1, 2, 3, 2, 9], 4],
    [{ monitor: 'score', mode: 'min', patience: 1, minDelta: 0.5 }, [5, 4, 3.6, 1], 3],
    [{ monitor: 'score', mode: 'min', patience: 2 }, [5, Number.NaN, 4, 3], 4],
    [{ monitor: 'score', mode: 'min', patience: 2 }, [Number.NaN, 4, 3, 2], 4],
  ] as const)('%j over %j ends after %i epochs', async (options, list, epochs) => {
    expect(await epochsWith([...list], options)).toBe(epochs)
  })

  test('restoreBest gives the model the values of its best epoch', async () => {
    const kept: Record<string, number[]>[] = []
    const script = {
      epochEnd: async ({ model, epoch }: Training, logs: Logs) => {
        kept.push(await values(model))
        ;(logs as Record<string, number>).score = [1, 5, 3, 2, 9][epoch]!
      },
    }
    const stopping = new EarlyStopping({ monitor: 'score', patience: 2, restoreBest: true })
    const model = compiled()
    const history = await model.fit(x, y, { ...quiet, epochs: 9, callbacks: [script, stopping] })
    expect(history.epochs).toBe(4)
    expect(history.stopped).toMatch(/score has not improved on 5 for 2 epochs/)
    expect(await values(model)).toEqual(kept[1])
    expect(kept[3]).not.toEqual(kept[1])
  })

  test('a second fit starts afresh', async () => {
    const stopping = new EarlyStopping({ monitor: 'loss', patience: 1 })
    for (let i = 0; i < 2; i++) {
      const history = await compiled(0.01).fit(x, y, { ...quiet, epochs: 3, callbacks: [stopping] })
      expect(history.epochs).toBe(3)
    }
  })

  test('a name that there is not is refused', async () => {
    for (const callback of [
      new EarlyStopping({ monitor: 'valLos' }),
      new ModelCheckpoint(folder, { keep: 'best', monitor: 'valLos' }),
    ]) {
      const fit = compiled().fit(x, y, { ...quiet, callbacks: [callback] })
      await expect(fit).rejects.toThrow("monitor: there is no 'valLos'; there are loss, lr")
    }
  })
})

describe('checkpoints', () => {
  test('the last one is of the end, the best one of the best epoch', async () => {
    const weights: number[][] = []
    const script = {
      epochEnd: async ({ model, epoch }: Training, logs: Logs) => {
        weights.push(await flatOf((model as nn.Linear).weight))
        ;(logs as Record<string, number>).valLoss = [3, 1, 2][epoch]!
      },
    }
    const [last, best] = [join(folder, 'last'), join(folder, 'best')]
    const callbacks = [new ModelCheckpoint(last), new ModelCheckpoint(best, { keep: 'best' }), script]
    await compiled().fit(x, y, { ...quiet, epochs: 3, callbacks })
    const saved = async (path: string) => flatOf((await loadCheckpoint(path)).model.weight!)
    expect(await saved(last)).toEqual(weights[2])
    expect(await saved(best)).toEqual(weights[1])
    expect((await loadCheckpoint(best)).epoch).toBe(2)
  })

  test('every so many steps, the first of an epoch too', async () => {
    const path = join(folder, 'steps')
    const steps: number[] = []
    const reader = {
      last: true,
      stepEnd: async () => void steps.push((await loadCheckpoint(path)).step),
    }
    const callbacks = [new ModelCheckpoint(path, { everySteps: 1 }), reader]
    await compiled().fit(x, y, { ...quiet, epochs: 2, batchSize: 16, callbacks })
    expect(steps).toEqual([1, 2, 3, 4])
  })

  test('a loss that is not finite is never saved', async () => {
    const path = join(folder, 'finite')
    const model = linear(3, 1).compile({ optimizer: new optim.SGD({ lr: 1e25 }), loss: 'mse' })
    const callbacks = [new ModelCheckpoint(path, { everySteps: 1 })]
    await expect(model.fit(x, y, { ...quiet, epochs: 9, batchSize: 4, callbacks })).rejects.toThrow(/the loss is/)
    const saved = existsSync(path) ? (await loadCheckpoint(path)).metrics : undefined
    const sums = (saved as { means: { sums: { loss: number } } } | undefined)?.means.sums
    expect(sums === undefined || Number.isFinite(sums.loss)).toBe(true)
  })
})

describe('logs', () => {
  test('a CSV file with a row for each epoch, written anew by a second fit', async () => {
    const path = join(folder, 'logs', 'training.csv')
    const logger = new CsvLogger(path)
    for (const epochs of [3, 2]) {
      const history = await compiled().fit(x, y, { ...quiet, epochs, validationSplit: 0.25, callbacks: [logger] })
      const lines = (await readFile(path, 'utf8')).trim().split('\n')
      expect(lines[0]).toBe('epoch,loss,valLoss,lr')
      expect(lines).toHaveLength(epochs + 1)
      const cells = lines.at(-1)!.split(',').map(Number)
      const { loss, valLoss, lr } = history.metrics
      expect(cells).toEqual([epochs - 1, loss!.at(-1), valLoss!.at(-1), lr!.at(-1)])
    }
  })

  test('the files are closed when the fit fails', async () => {
    const logger = new CsvLogger(join(folder, 'failed.csv'))
    const failing = { epochEnd: () => Promise.reject(new Error('no')) }
    await expect(compiled().fit(x, y, { ...quiet, callbacks: [logger, failing] })).rejects.toThrow('no')
    await compiled().fit(x, y, { ...quiet, callbacks: [logger] })
    expect((await readFile(join(folder, 'failed.csv'), 'utf8')).trim().split('\n')).toHaveLength(2)
  })

  test('TensorBoard event files hold the names of all values', async () => {
    const path = join(folder, 'board')
    await compiled().fit(x, y, { ...quiet, epochs: 2, validation: [x, y], callbacks: [new TensorBoard(path)] })
    const files = await readdir(path)
    expect(files).toHaveLength(1)
    const text = (await readFile(join(path, files[0]!))).toString('latin1')
    for (const name of ['loss', 'valLoss', 'lr']) expect(text.split(name).length).toBeGreaterThan(2)
  })
})

describe('the report', () => {
  test('has curves, the configuration and the confusion matrix of the validation', async () => {
    const path = join(folder, 'report', 'index.html')
    const labels = tensor(Int32Array.from({ length: 32 }, (_, i) => i % 3))
    const model = linear(3, 3).compile({ optimizer: 'adam', loss: 'crossEntropy', metrics: ['accuracy'] })
    await model.fit(x, labels, {
      ...quiet,
      epochs: 2,
      validationSplit: 0.5,
      report: path,
      labels: ['ant', 'bee', 'cat'],
    })
    const html = await readFile(path, 'utf8')
    for (const part of ['ant', 'bee', 'cat', 'accuracy', 'Adam']) expect(html).toContain(part)
    const counts = [...html.matchAll(/<td[^>]*>\s*(\d+)/g)].map(match => Number(match[1]))
    expect(counts.reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(16)
  })

  test('labels that are too few or too many are refused before training', async () => {
    const y = tensor(Int32Array.from({ length: 32 }, (_, i) => i % 3))
    const model = linear(3, 3).compile({ optimizer: 'adam', loss: 'crossEntropy' })
    const before = await values(model)
    for (const labels of [
      ['a', 'b'],
      ['a', 'b', 'c', 'd'],
    ]) {
      await expect(model.fit(x, y, { ...quiet, report: join(folder, 'none.html'), labels })).rejects.toMatchObject({
        code: 'ERR_SHAPE',
        message: `fit: labels are for ${labels.length} classes, but the model has 3; give a label for each`,
      })
    }
    expect(await values(model)).toEqual(before)
  })
})
