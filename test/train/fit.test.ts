import { manualSeed, memory, nn, optim, type Tensor, tensor } from 'anneal'
import { fromArrays, fromGenerator, fromItems } from 'anneal/data'
import { History } from 'anneal/train'
import { describe, expect, test } from 'vitest'
import { flatOf, linear, matrix, quiet, regression, values } from './models'

describe('one update equals what the definition gives by hand', () => {
  // y = w * x, loss (w x - t)^2 for each example: the gradient is the mean of 2 x (w x - t), weighted.
  const x = [1, 2, 3, 4]
  const t = [2, 3, 5, 9]
  const w = 0.5
  const lr = 0.1
  const each = x.map((v, i) => (w * v - t[i]!) ** 2)
  const gradient = x.map((v, i) => 2 * v * (w * v - t[i]!))
  const mean = (list: number[], weights = [1, 1, 1, 1]) =>
    list.reduce((a, v, i) => a + v * weights[i]!, 0) / list.length

  async function fitted(options: object, target: Tensor = tensor(t, { shape: [4, 1] })) {
    const model = linear(1, 1, { bias: false })
    model.weight.assign(tensor([[w]]))
    model.compile({ optimizer: new optim.SGD({ lr }), loss: 'mse' })
    const history = await model.fit(tensor(x, { shape: [4, 1] }), target, {
      ...quiet,
      batchSize: 4,
      shuffle: false,
      ...options,
    })
    return { w: (await model.weight.data())[0] as number, loss: history.metrics.loss![0]! }
  }

  test('plain', async () => {
    const result = await fitted({})
    expect(result.loss).toBeCloseTo(mean(each), 5)
    expect(result.w).toBeCloseTo(w - lr * mean(gradient), 5)
  })

  test('sample weights: sum(w * l) / N', async () => {
    const weights = [0, 1, 2, 0.5]
    const result = await fitted({ sampleWeight: tensor(weights) })
    expect(result.loss).toBeCloseTo(mean(each, weights), 5)
    expect(result.w).toBeCloseTo(w - lr * mean(gradient, weights), 5)
  })

  test('weights from a dataset', async () => {
    const weights = [3, 0, 1, 1]
    const model = linear(1, 1, { bias: false })
    model.weight.assign(tensor([[w]]))
    model.compile({ optimizer: new optim.SGD({ lr }), loss: 'mse' })
    const column = (list: number[]) => ({ data: Float32Array.from(list), shape: [4, 1] })
    const data = fromArrays(column(x), column(t), Float32Array.from(weights))
    const history = await model.fit(data, { ...quiet, batchSize: 4 })
    expect(history.metrics.loss![0]).toBeCloseTo(mean(each, weights), 5)
    expect((await model.weight.data())[0]).toBeCloseTo(w - lr * mean(gradient, weights), 5)
    const evaluated = await linear(1, 1).compile({ optimizer: 'sgd', loss: 'mse' }).evaluate(data, { batchSize: 3 })
    expect(Object.keys(evaluated)).toEqual(['loss'])
  })

  test('accumulation over two batches equals the large batch', async () => {
    const result = await fitted({ batchSize: 2, accumulate: 2 })
    expect(result.w).toBeCloseTo(w - lr * mean(gradient), 5)
    expect(result.loss).toBeCloseTo(mean(each), 5)
  })

  test('accumulation over uneven batches equals the large batch', async () => {
    const result = await fitted({ batchSize: 3, accumulate: 2 })
    expect(result.w).toBeCloseTo(w - lr * mean(gradient), 5)
  })

  test('accumulation that an epoch cuts short equals a batch of what there was', async () => {
    const result = await fitted({ batchSize: 2, accumulate: 8 })
    expect(result.w).toBeCloseTo(w - lr * mean(gradient), 5)
  })

  test('accumulation with weights', async () => {
    const weights = [0, 1, 2, 0.5]
    const result = await fitted({ batchSize: 3, accumulate: 2, sampleWeight: tensor(weights) })
    expect(result.w).toBeCloseTo(w - lr * mean(gradient, weights), 5)
  })

  test('clipping by value and by norm', async () => {
    expect((await fitted({ clipValue: 0.25 })).w).toBeCloseTo(w + lr * 0.25, 5)
    expect((await fitted({ clipNorm: 2 })).w).toBeCloseTo(w + lr * 2, 4)
    expect((await fitted({ clipNorm: 1e6 })).w).toBeCloseTo(w - lr * mean(gradient), 5)
  })
})

describe('class weights', () => {
  const logSoftmax = (row: number[], c: number) => row[c]! - Math.log(row.reduce((a, v) => a + Math.exp(v), 0))

  /** The loss that fit reports of a model that hands its inputs through. */
  async function lossOf(loss: string, x: Tensor, y: Tensor, options: object): Promise<number> {
    class Through extends nn.Module {
      readonly scale = new nn.Linear(1, 1)
      forward(input: Tensor): Tensor {
        return input.add(this.scale.weight.mul(0).sum())
      }
    }
    const model = new Through().compile({ optimizer: new optim.SGD({ lr: 0 }), loss })
    return (await model.fit(x, y, { ...quiet, ...options })).metrics.loss![0]!
  }

  const logits = [
    [1, 2, 0],
    [0, -1, 1],
    [2, 2, 2],
    [0.5, 0, -0.5],
  ]
  const classes = [1, 0, 2, 1]
  const classWeight = { 0: 3, 1: 0.5 }
  const weightOf = (c: number) => (c === 0 ? 3 : c === 1 ? 0.5 : 1)
  const expected = logits.reduce((a, row, i) => a - weightOf(classes[i]!) * logSoftmax(row, classes[i]!), 0) / 4

  test('of class indices, of any integer dtype', async () => {
    for (const dtype of ['int32', 'int64', 'uint8'] as const) {
      const y = tensor(classes).cast(dtype)
      expect(await lossOf('crossEntropy', tensor(logits), y, { classWeight })).toBeCloseTo(expected, 5)
    }
  })

  test('of one value per class', async () => {
    const y = tensor(classes.map(c => [0, 1, 2].map(k => Number(k === c))))
    expect(await lossOf('crossEntropy', tensor(logits), y, { classWeight })).toBeCloseTo(expected, 5)
  })

  test('together with sample weights', async () => {
    const weights = [1, 0, 2, 4]
    const both =
      logits.reduce((a, row, i) => a - weights[i]! * weightOf(classes[i]!) * logSoftmax(row, classes[i]!), 0) / 4
    const y = tensor(Int32Array.from(classes))
    const loss = await lossOf('crossEntropy', tensor(logits), y, { classWeight, sampleWeight: tensor(weights) })
    expect(loss).toBeCloseTo(both, 5)
  })

  test('of one logit', async () => {
    const z = [1, -2, 0.5]
    const y = [1, 0, 0]
    const bce = z.map((v, i) => Math.log1p(Math.exp(-v)) + (1 - y[i]!) * v)
    const mean = (bce[0]! * 5 + bce[1]! * 2 + bce[2]! * 2) / 3
    for (const shape of [[3], [3, 1]]) {
      const loss = await lossOf(
        'bceWithLogits',
        tensor(z, { shape } as never).reshape(shape),
        tensor(y).reshape(shape),
        {
          classWeight: { 0: 2, 1: 5 },
        },
      )
      expect(loss).toBeCloseTo(mean, 5)
    }
  })

  test('of each label of a sequence', async () => {
    const x = tensor(logits).reshape([2, 2, 3])
    const y = tensor(Int32Array.from(classes)).reshape([2, 2])
    expect(await lossOf('crossEntropy', x, y, { classWeight })).toBeCloseTo(expected, 5)
  })

  test('for classes that do not exist are refused', async () => {
    const y = tensor(Int32Array.from(classes))
    for (const wrong of [{ 3: 1 }, { '-1': 1 }, { 0: -1 }, { 0: Number.NaN }, { a: 1 }]) {
      await expect(lossOf('crossEntropy', tensor(logits), y, { classWeight: wrong })).rejects.toThrow(
        /classWeight must give weights of 0 or more for classes 0 to 2/,
      )
    }
  })
})

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
    const loss = { size: 'mse', kind: 'crossEntropy' }
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
    const before = memory().tensors
    counts.length = 0
    await model.fit(x, y, { ...options, epochs: 6 })
    expect(new Set(counts.slice(1)).size).toBe(1)
    expect(memory().tensors).toBe(before)
    const held = memory().tensors
    await model.evaluate(x, y, { batchSize: 8 })
    ;(await model.predict(x, { batchSize: 7 })).dispose()
    expect(memory().tensors).toBe(held)
  })
})

describe('what fit refuses', () => {
  const { x, y } = regression(8)
  const compiled = (loss = 'mse') => linear(3, 1).compile({ optimizer: 'sgd', loss })

  test.each([
    ['epochs', { epochs: 0 }, /epochs must be a whole number from 1 on; got 0/],
    ['epochs', { epochs: 1.5 }, /epochs must be a whole number/],
    ['accumulate', { accumulate: 0 }, /accumulate must be/],
    ['batchSize', { batchSize: -1 }, /batchSize must be/],
    ['clipNorm', { clipNorm: 0 }, /clipNorm must be more than 0; got 0/],
    ['clipValue', { clipValue: Number.NaN }, /clipValue must be more than 0; got NaN/],
    ['validationSplit', { validationSplit: 1 }, /validationSplit must leave examples on both sides; got 1 of 8/],
    ['both validations', { validationSplit: 0.5, validation: [x, y] }, /either validation or validationSplit/],
    ['sampleWeight', { sampleWeight: tensor([1, 2]) }, /numbers of examples differ: 8 inputs, 8 targets, 2 weights/],
    [
      'sampleWeight',
      { sampleWeight: matrix(8, 1) },
      /weights must be a tensor \[8\], one per example; got shape \[8,1\]/,
    ],
    ['schedule', { schedule: { factor: () => Number.NaN } }, /the schedule gave NaN for step 0/],
  ])('%s', async (_, options, message) => {
    await expect(compiled().fit(x, y, { ...quiet, ...options } as never)).rejects.toThrow(message)
  })

  test('data that do not fit together', async () => {
    const model = compiled()
    const code = (name: string) => expect.objectContaining({ code: name })
    await expect(model.fit(x, matrix(7, 1), quiet)).rejects.toThrow('numbers of examples differ: 8 inputs, 7 targets')
    await expect(model.fit([x, matrix(7, 1)], y, quiet)).rejects.toThrow(/differ in their number of examples.*8, 7/)
    await expect(model.fit(x, matrix(8, 2), quiet)).rejects.toThrow(code('ERR_SHAPE'))
    await expect(model.fit(x, y.reshape([8]), quiet)).rejects.toThrow(code('ERR_SHAPE'))
    await expect(model.fit(matrix(8, 4), y, quiet)).rejects.toThrow(code('ERR_SHAPE'))
    await expect(model.fit(matrix(0, 3), matrix(0, 1), quiet)).rejects.toThrow('there are no examples')
    await expect(model.fit(tensor(1), tensor(1), quiet)).rejects.toThrow(/inputs: a scalar has no axis of examples/)
    await expect(model.fit('data' as never, quiet)).rejects.toThrow(
      'data must be tensors (inputs and targets) or a Dataset',
    )
    await expect(model.fit(x as never, quiet)).rejects.toThrow('data must be tensors')
    await expect(model.fit([[1, 2]] as never, quiet)).rejects.toThrow('data must be tensors')
    await expect(model.fit({} as never, {} as never, quiet)).rejects.toThrow(code('ERR_VALUE'))
    await expect(model.evaluate(matrix(0, 3), matrix(0, 1))).rejects.toThrow('there are no examples')
    // The model is as good as before.
    expect((await model.fit(x, y, quiet)).epochs).toBe(1)
  })

  test('datasets that give wrong things', async () => {
    const model = compiled()
    const advice = /Give batchSize for a dataset of single examples/
    await expect(model.fit(fromItems([1, 2, 3]), quiet)).rejects.toThrow(advice)
    await expect(model.fit(fromItems([[x]]), quiet)).rejects.toThrow(/got a list of 1/)
    await expect(model.fit(fromItems([[[1, 2, 3], [1]]]), quiet)).rejects.toThrow(advice)
    await expect(model.fit(fromItems<unknown>([[x, matrix(7, 1)]]), quiet)).rejects.toThrow('8 inputs, 7 targets')
    await expect(model.fit(fromItems<unknown>([]), quiet)).rejects.toThrow('the data gave no batches')
    await expect(model.evaluate(fromItems<unknown>([]))).rejects.toThrow('the data gave no batches')
    await expect(model.fit(fromItems([[x, y]]), { ...quiet, validationSplit: 0.5 })).rejects.toThrow(
      /split it with split/,
    )
    const failing = fromGenerator(function* () {
      yield [x, y]
      throw new Error('disk on fire')
    })
    await expect(model.fit(failing, quiet)).rejects.toThrow('disk on fire')
  })

  test('models and settings that do not exist', async () => {
    const state = expect.objectContaining({ code: 'ERR_STATE' })
    await expect(linear(3, 1).fit(x, y, quiet)).rejects.toThrow(state)
    await expect(linear(3, 1).evaluate(x, y)).rejects.toThrow(
      'evaluate: the model is not compiled; call compile() first',
    )
    const compile = (options: object) => () =>
      linear(3, 1).compile({ optimizer: 'sgd', loss: 'mse', ...options } as never)
    expect(compile({ loss: 'msee' })).toThrow(/unknown name 'msee'.*mse/)
    expect(compile({ loss: undefined })).toThrow('compile: there is no loss')
    expect(compile({ loss: { a: 'constructor' } })).toThrow(/unknown name 'constructor'/)
    expect(compile({ optimizer: 'adamm' })).toThrow(/unknown optimizer 'adamm'; expected one of sgd, adam/)
    expect(compile({ optimizer: 'valueOf' })).toThrow(/unknown optimizer/)
    expect(compile({ metrics: ['acc'] })).toThrow(/unknown metric 'acc'/)
    const other = new optim.SGD(linear(3, 1).parameters(), { lr: 1 })
    expect(compile({ optimizer: other })).toThrow("the optimizer has none of this model's parameters")
  })

  test('an async forward, without an unhandled rejection', async () => {
    class Late extends nn.Module {
      readonly inner = linear(3, 1)
      async forward(input: Tensor): Promise<Tensor> {
        await input.ready()
        throw new Error('too late')
      }
    }
    const model = new Late().compile({ optimizer: 'sgd', loss: 'mse' })
    await expect(model.fit(x, y, quiet)).rejects.toThrow('forward() must not be async')
    await expect(model.predict(x)).rejects.toThrow('forward() must not be async')
  })

  test('outputs that are no tensors', async () => {
    class Odd extends nn.Module {
      readonly inner = linear(3, 1)
      forward(): unknown {
        return { loss: 3 }
      }
    }
    const model = new Odd().compile({ optimizer: 'sgd', loss: 'mse' })
    await expect(model.fit(x, y, quiet)).rejects.toThrow(/outputs must be a tensor.*got object/)
  })

  test('two fits of one model at once', async () => {
    const model = compiled()
    const first = model.fit(x, y, quiet)
    await expect(model.fit(x, y, quiet)).rejects.toThrow('this model is being trained already')
    expect((await first).epochs).toBe(1)
    expect((await model.fit(x, y, quiet)).epochs).toBe(1)
  })

  test('a loss that is not finite, naming the step', async () => {
    const broken = await x.data()
    broken[3 * 5] = Number.NaN
    const data = tensor(broken as Float32Array, { shape: [8, 3] })
    const options = { ...quiet, batchSize: 2, shuffle: false }
    await expect(compiled().fit(data, y, options)).rejects.toThrow(
      expect.objectContaining({
        code: 'ERR_VALUE',
        message: expect.stringContaining('the loss is NaN at step 2, in epoch 0'),
      }),
    )
    const diverging = linear(3, 1).compile({ optimizer: new optim.SGD({ lr: 1e20 }), loss: 'mse' })
    await expect(diverging.fit(x, y, { ...options, epochs: 9 })).rejects.toThrow(
      /the loss is (NaN|Infinity) at step \d/,
    )
    const history = await compiled().fit(data, y, { ...options, allowNonFinite: true })
    expect(history.metrics.loss).toEqual([Number.NaN])
  })

  test('gradients of an earlier failure do not reach the next fit', async () => {
    const [one, two] = [linear(3, 1), linear(3, 1)]
    two.loadStateDict(one.stateDict())
    for (const model of [one, two]) model.compile({ optimizer: new optim.SGD({ lr: 0.1 }), loss: 'mse' })
    const failing = fromGenerator(function* () {
      yield [x, y]
      throw new Error('no more')
    })
    await expect(one.fit(failing, { ...quiet, accumulate: 4 })).rejects.toThrow('no more')
    for (const model of [one, two]) await model.fit(x, y, { ...quiet, shuffle: false })
    expect(await values(one)).toEqual(await values(two))
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
