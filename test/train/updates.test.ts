import { nn, optim, type Tensor, tensor } from 'anneal'
import { fromArrays } from 'anneal/data'
import type { LossName } from 'anneal/losses'
import { describe, expect, test } from 'vitest'
import { linear, quiet } from './models'

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
  async function lossOf(loss: LossName, x: Tensor, y: Tensor, options: object): Promise<number> {
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
