import { manualSeed, memory, nn, optim, type Tensor, tensor } from 'anneal'
import { fromArrays } from 'anneal/data'
import { History } from 'anneal/train'
import { describe, expect, test } from 'vitest'
import { collectGarbage } from '../support/collect'
import { flatOf, linear, matrix, quiet, regression, values } from './models'

describe('several inputs and outputs', () => {
  const x = matrix(20, 3)
  const a = matrix(20, 1, 2)
  const b = tensor(Int32Array.from({ length: 20 }, (_, i) => i % 2))

  function twoHeads(form: 'record' | 'list') {
    manualSeed(1)
    const input = nn.input([3])
    const trunk = input.pipe(new nn.Linear(3, 4), new nn.ReLU())
    const heads = [trunk.pipe(new nn.Linear(4, 1)), trunk.pipe(new nn.Linear(4, 2))] as const
    const outputs = form === 'list' ? heads : { size: heads[0], kind: heads[1] }
    return new nn.Graph({ inputs: input, outputs })
  }

  test('records: weighted losses add up, and logs name the outputs', async () => {
    const model = twoHeads('record').compile({
      optimizer: new optim.SGD({ lr: 0.05 }),
      loss: { size: 'mse', kind: 'crossEntropy' },
      lossWeights: { kind: 0.5 },
      metrics: { size: ['mae'], kind: ['accuracy'] },
    })
    const y = { size: a, kind: b }
    const before = await model.evaluate(x, y)
    expect(Object.keys(before)).toEqual(['loss', 'size.loss', 'kind.loss', 'size.mae', 'kind.accuracy'])
    expect(before.loss).toBeCloseTo(before['size.loss']! + before['kind.loss']!, 5)
    const single = twoHeads('record').compile({ optimizer: 'sgd', loss: { size: 'mse', kind: 'crossEntropy' } })
    expect(before['kind.loss']).toBeCloseTo((await single.evaluate(x, y))['kind.loss']! / 2, 5)
    const history = await model.fit(x, y, { ...quiet, epochs: 5, validation: [x, y] })
    expect(history.metrics['kind.accuracy']).toHaveLength(5)
    expect(history.metrics['valKind.accuracy']).toHaveLength(5)
    expect(history.metrics.loss![4]).toBeLessThan(history.metrics.loss![0]!)
  })

  test('lists give the same numbers as records', async () => {
    const record = twoHeads('record').compile({
      optimizer: new optim.Adam(),
      loss: { size: 'mse', kind: 'crossEntropy' },
      lossWeights: { size: 2, kind: 1 },
    })
    const list = twoHeads('list').compile({
      optimizer: new optim.Adam(),
      loss: ['mse', 'crossEntropy'],
      lossWeights: [2, 1],
      metrics: [[], ['accuracy']],
    })
    const options = { ...quiet, epochs: 2, batchSize: 8, seed: 4 }
    const first = await record.fit(x, { size: a, kind: b }, options)
    const second = await list.fit(x, [a, b], options)
    expect(second.metrics.loss).toEqual(first.metrics.loss)
    expect(second.metrics['1.accuracy']).toHaveLength(2)
    const [size, kind] = await list.predict(x, { batchSize: 7 })
    const named = await record.predict(x)
    expect(await flatOf(size)).toEqual(await flatOf(named.size))
    expect(kind.shape).toEqual([20, 2])
  })

  test('one loss for all outputs', async () => {
    const model = twoHeads('list').compile({ optimizer: 'sgd', loss: 'mse' })
    const history = await model.fit(x, [a, matrix(20, 2)], quiet)
    expect(history.metrics.loss![0]).toBeCloseTo(history.metrics['0.loss']![0]! + history.metrics['1.loss']![0]!, 5)
  })

  test('settings for outputs that do not exist are refused', async () => {
    const y = { size: a, kind: b }
    const loss = { size: 'mse', kind: 'crossEntropy' } as const
    const wrong = [
      [{ loss: { size: 'mse' } }, /no loss for output 'kind'/],
      [{ loss: { ...loss, colour: 'mse' } }, /loss for 'colour', which is no output; the outputs are 'size', 'kind'/],
      [{ loss, lossWeights: { kin: 1 } }, /lossWeights for 'kin', which is no output/],
      [{ loss, metrics: ['accuracy'] }, /one list of metrics; the outputs are 'size', 'kind'/],
      [{ loss, metrics: { kin: ['accuracy'] } }, /metrics for 'kin', which is no output/],
    ] as const
    for (const [options, message] of wrong) {
      const model = twoHeads('record').compile({ optimizer: 'sgd', ...options } as never)
      await expect(model.fit(x, y, quiet)).rejects.toThrow(message)
      await expect(model.evaluate(x, y)).rejects.toThrow(message)
    }
    const model = twoHeads('record').compile({ optimizer: 'sgd', loss })
    await expect(model.fit(x, { size: a }, quiet)).rejects.toThrow(
      "no target for output 'kind'; the targets are 'size'",
    )
    await expect(model.fit(x, a, quiet)).rejects.toThrow("no target for output 'size'; the targets are one tensor")
  })

  test('several inputs, as lists, records and from datasets', async () => {
    class Sum extends nn.Module {
      readonly left = linear(2, 1)
      readonly right = linear(1, 1)
      forward(first: Tensor | { l: Tensor; r: Tensor }, second?: Tensor): Tensor {
        const [l, r] = second ? [first as Tensor, second] : [(first as { l: Tensor }).l, (first as { r: Tensor }).r]
        return this.left.forward(l).add(this.right.forward(r))
      }
    }
    const [l, r, y] = [matrix(10, 2), matrix(10, 1, 3), matrix(10, 1, 5)]
    const host = async (t: Tensor) => ({ data: (await t.data()) as Float32Array, shape: t.shape })
    const dataset = fromArrays({ l: await host(l), r: await host(r) }, await host(y))
    const losses = []
    for (const data of [[[l, r], y], [{ l, r }, y], dataset] as const) {
      manualSeed(2)
      const model = new Sum().compile({ optimizer: new optim.Adam({ lr: 0.1 }), loss: 'mse' })
      const history = await model.fit(data as never, { ...quiet, epochs: 3, batchSize: 4, seed: 1 })
      losses.push(history.metrics.loss)
    }
    expect(losses[1]).toEqual(losses[0])
    expect(losses[2]).toEqual(losses[0])
  })
})

describe('validation', () => {
  const { x, y } = regression(40)

  test('a split takes the last part, and leaves it out of training', async () => {
    const model = linear(3, 1).compile({ optimizer: new optim.SGD({ lr: 0 }), loss: 'mse', metrics: ['mae'] })
    const history = await model.fit(x, y, { ...quiet, validationSplit: 0.25 })
    const held = await model.evaluate(x.index({ start: 30 }), y.index({ start: 30 }))
    const kept = await model.evaluate(x.index({ end: 30 }), y.index({ end: 30 }))
    expect(history.metrics.valLoss![0]).toBeCloseTo(held.loss!, 5)
    expect(history.metrics.valMae![0]).toBeCloseTo(held.mae!, 5)
    expect(history.metrics.loss![0]).toBeCloseTo(kept.loss!, 5)
    expect(Object.keys(history.metrics)).toEqual(['loss', 'mae', 'valLoss', 'valMae', 'lr'])
  })

  test('the weights of the split go with their examples', async () => {
    const model = linear(3, 1).compile({ optimizer: new optim.SGD({ lr: 0 }), loss: 'mse' })
    const sampleWeight = tensor(Float32Array.from({ length: 40 }, (_, i) => (i < 30 ? 1 : 0)))
    const history = await model.fit(x, y, { ...quiet, validationSplit: 0.25, sampleWeight })
    expect(history.metrics.valLoss![0]).toBe(0)
    expect(history.metrics.loss![0]).toBeGreaterThan(0)
  })

  test('sets of tensors, datasets of batches and of examples give the same', async () => {
    const model = linear(3, 1).compile({ optimizer: new optim.SGD({ lr: 0 }), loss: 'mse' })
    const host = async (t: Tensor) => ({ data: (await t.data()) as Float32Array, shape: t.shape })
    const examples = fromArrays(await host(x), await host(y))
    const one = await model.fit(x, y, { ...quiet, validation: [x, y] })
    const two = await model.fit(x, y, { ...quiet, batchSize: 16, validation: examples })
    const three = await model.fit(x, y, { ...quiet, validation: examples.batch(16) })
    expect(two.metrics.valLoss![0]).toBeCloseTo(one.metrics.valLoss![0]!, 6)
    expect(three.metrics.valLoss![0]).toBeCloseTo(one.metrics.valLoss![0]!, 6)
  })

  test('leaves out dropout, and training goes on with it', async () => {
    const modes: boolean[] = []
    const dropout = new nn.Dropout(0.5)
    dropout.registerForwardHook(module => {
      modes.push(module.training)
      return undefined
    })
    const model = new nn.Sequential(dropout, new nn.Linear(3, 1)).compile({ optimizer: 'sgd', loss: 'mse' })
    await model.fit(x, y, { ...quiet, epochs: 2, batchSize: 20, validation: [x, y] })
    expect(modes).toEqual([true, true, false, false, true, true, false, false])
  })

  test('a frozen batch norm stays as a callback set it', async () => {
    const norm = new nn.BatchNorm1d(3)
    const model = new nn.Sequential(norm, new nn.Linear(3, 1)).compile({ optimizer: 'sgd', loss: 'mse' })
    const before = await values(norm)
    const freeze = { epochStart: () => void norm.eval() }
    const initial = Object.keys(before).filter(name => name.startsWith('running'))
    expect(initial.length).toBeGreaterThan(0)
    await model.fit(x, y, { ...quiet, epochs: 2, validation: [x, y], callbacks: [freeze] })
    const after = await values(norm)
    for (const name of initial) expect(after[name]).toEqual(before[name])
  })
})

describe('history', () => {
  test('gives the best value and its epoch', () => {
    const history = new History()
    for (const [loss, accuracy] of [
      [3, 0.1],
      [1, 0.9],
      [2, 0.5],
      [1, 0.9],
    ] as const)
      history.add({ loss, accuracy })
    expect(history.epochs).toBe(4)
    expect(history.best('loss')).toEqual({ value: 1, epoch: 1 })
    expect(history.best('accuracy')).toEqual({ value: 0.9, epoch: 1 })
    expect(history.best('accuracy', 'min')).toEqual({ value: 0.1, epoch: 0 })
    expect(() => history.best('acc')).toThrow("there is no 'acc'; recorded are loss, accuracy")
  })

  test('the best is never one that is not a number, unless all are', () => {
    const history = new History()
    for (const loss of [Number.NaN, 2, Number.NaN, 1]) history.add({ loss, other: Number.NaN })
    expect(history.best('loss')).toEqual({ value: 1, epoch: 3 })
    expect(history.best('other')).toEqual({ value: Number.NaN, epoch: 0 })
  })
})

describe('seeds', () => {
  const { x, y } = regression(64)
  async function trained(seed: number, options = {}) {
    manualSeed(seed)
    const model = new nn.Sequential(new nn.Linear(3, 8), new nn.Dropout(0.3), new nn.ReLU(), new nn.Linear(8, 1))
    model.compile({ optimizer: new optim.Adam(), loss: 'mse' })
    const history = await model.fit(x, y, { ...quiet, epochs: 3, batchSize: 8, ...options })
    return { history: history.metrics, weights: await values(model) }
  }

  test('the same seed gives the same, bit for bit, and another does not', async () => {
    const [one, same, other] = [await trained(1), await trained(1), await trained(2)]
    expect(same).toEqual(one)
    expect(other.history.loss).not.toEqual(one.history.loss)
  })

  test("fit's own seed decides the order alone", async () => {
    const [one, same, other] = [
      await trained(1, { seed: 5 }),
      await trained(1, { seed: 5 }),
      await trained(1, { seed: 6 }),
    ]
    expect(same).toEqual(one)
    expect(other.weights).not.toEqual(one.weights)
  })

  test('without shuffling the examples come in their order', async () => {
    const seen: number[] = []
    const model = linear(1, 1)
    model.registerForwardPreHook((_, [input]) => {
      seen.push(...((input as Tensor).dataSync() as Float32Array))
      return undefined
    })
    model.compile({ optimizer: 'sgd', loss: 'mse' })
    const order = tensor([0, 1, 2, 3, 4], { shape: [5, 1] }).reshape([5, 1])
    await model.fit(order, order, { ...quiet, batchSize: 2, shuffle: false })
    expect(seen).toEqual([0, 1, 2, 3, 4])
    seen.length = 0
    await model.fit(order, order, { ...quiet, batchSize: 2, seed: 1, epochs: 2 })
    expect(seen.slice(0, 5).sort()).toEqual([0, 1, 2, 3, 4])
    expect(seen.slice(5).sort()).toEqual([0, 1, 2, 3, 4])
    expect(seen.slice(5)).not.toEqual(seen.slice(0, 5))
  })
})

describe('memory', () => {
  test('the number of tensors is the same after every epoch, and after the fit as before it', async () => {
    const { x, y } = regression(48)
    const counts: number[] = []
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4), new nn.Linear(4, 1))
    model.compile({ optimizer: new optim.Adam(), loss: 'mse', metrics: ['mae', 'r2'] })
    const options = {
      ...quiet,
      batchSize: 8,
      accumulate: 2,
      clipNorm: 1,
      clipValue: 0.5,
      sampleWeight: tensor(new Float32Array(48).fill(1)),
      validationSplit: 0.25,
      callbacks: [{ epochEnd: () => void counts.push(memory().tensors) }],
    }
    await model.fit(x, y, options)
    await collectGarbage() // of earlier tests, too
    const before = memory().tensors
    counts.length = 0
    await model.fit(x, y, { ...options, epochs: 6 })
    expect(new Set(counts.slice(1)).size).toBe(1)
    await collectGarbage()
    expect(memory().tensors).toBe(before)
    const held = memory().tensors
    await model.evaluate(x, y, { batchSize: 8 })
    ;(await model.predict(x, { batchSize: 7 })).dispose()
    await collectGarbage()
    expect(memory().tensors).toBe(held)
  })
})

test('16-bit tensors and labels of any integer dtype train', async () => {
  const model = linear(3, 2)
    .to('bfloat16')
    .compile({ optimizer: 'sgd', loss: 'crossEntropy', metrics: ['accuracy'] })
  const labels = tensor(Int32Array.from([0, 1, 1, 0])).cast('uint8')
  const history = await model.fit(matrix(4, 3).cast('bfloat16'), labels.cast('int64'), { ...quiet, batchSize: 2 })
  expect(history.metrics.loss![0]).toBeGreaterThan(0)
})

test('regularizers count in the training loss and its gradient', async () => {
  const { x, y } = regression(8)
  const plain = linear(3, 1)
  const penalised = linear(3, 1)
  penalised.loadStateDict(plain.stateDict())
  penalised.regularizer = { l2: 0.5 } as never
  for (const model of [plain, penalised]) model.compile({ optimizer: new optim.SGD({ lr: 0 }), loss: 'mse' })
  const without = (await plain.fit(x, y, quiet)).metrics.loss![0]!
  const penalty = await penalised.regularization()!.item()
  expect(penalty).toBeGreaterThan(0)
  expect((await penalised.fit(x, y, quiet)).metrics.loss![0]).toBeCloseTo(without + penalty, 5)
})

test('only plain numbers come out', async () => {
  const { x, y } = regression(8)
  const model = linear(3, 1).compile({ optimizer: 'sgd', loss: 'mse', metrics: ['mae'] })
  const history = await model.fit(x, y, { ...quiet, validation: [x, y] })
  expect(
    Object.values(history.metrics)
      .flat()
      .every(v => typeof v === 'number'),
  ).toBe(true)
  expect(Object.values(await model.evaluate(x, y)).every(v => typeof v === 'number')).toBe(true)
})

test('a regularizer that changes while a fit runs counts from then on, captured or not', async () => {
  const { x, y } = regression(20)
  const losses: number[][] = []
  for (const capture of [true, false]) {
    manualSeed(3)
    const model = linear(3, 1).compile({ optimizer: new optim.SGD({ lr: 0.1 }), loss: 'mse', capture })
    const penalties = [{ l2: 0.5 }, { l2: 5 }, { l1: 1, l2: 5 }, undefined]
    const epochStart = ({ epoch }: { epoch: number }) => {
      model.regularizer = penalties[epoch]
    }
    const { metrics } = await model.fit(x, y, { ...quiet, epochs: 4, seed: 1, callbacks: [{ epochStart }] })
    losses.push(metrics.loss!)
  }
  expect(losses[0]).toEqual(losses[1])
})
