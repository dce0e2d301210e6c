import { manualSeed, memory, nn, Parameter, type Tensor, tensor } from 'anneal'
import { fromArrays, fromItems } from 'anneal/data'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { flatOf, linear, matrix, quiet, regression } from './models'

const { x, y } = regression(10)

describe('predict', () => {
  test('gives what forward gives, in batches of any size', async () => {
    const model = linear(3, 2)
    const expected = await flatOf(model.forward(x))
    for (const batchSize of [undefined, 1, 3, 10, 99]) {
      const output: Tensor = await model.predict(x, { batchSize })
      expect(output.shape).toEqual([10, 2])
      expect(output.requiresGrad).toBe(false)
      for (const [i, value] of (await flatOf(output)).entries()) expect(value).toBeCloseTo(expected[i]!, 5)
    }
  })

  test('is typed as forward is', () => {
    class Pair extends nn.Module {
      forward(input: Tensor): [Tensor, Tensor] {
        return [input, input]
      }
    }
    type Predicted<M extends nn.Module> = Awaited<ReturnType<M['predict']>>
    expectTypeOf<Predicted<nn.Sequential>>().toEqualTypeOf<Tensor>()
    expectTypeOf<Predicted<nn.Sequential<[Tensor, Tensor]>>>().toEqualTypeOf<[Tensor, Tensor]>()
    expectTypeOf<Predicted<nn.Linear>>().toEqualTypeOf<Tensor>()
    expectTypeOf<Predicted<Pair>>().toEqualTypeOf<[Tensor, Tensor]>()
    expectTypeOf<Predicted<nn.Module>>().toBeAny()
    expectTypeOf(new nn.Sequential().forward(x)).toEqualTypeOf<Tensor>()
  })

  test('is in evaluation mode, which nothing else sees', async () => {
    const dropout = new nn.Dropout(0.9)
    const model = new nn.Sequential(dropout, new nn.BatchNorm1d(3))
    const [first, second] = await Promise.all([model.predict(x, { batchSize: 2 }), model.predict(x, { batchSize: 5 })])
    expect(await flatOf(first)).toEqual(await flatOf(second))
    expect(model.modules().every(module => module.training)).toBe(true)
    dropout.eval()
    await model.predict(x)
    expect(model.modules().map(module => module.training)).toEqual([true, false, true])
  })

  test('an error leaves the mode as it was', async () => {
    const model = linear(3, 1)
    await expect(model.predict(matrix(4, 2))).rejects.toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
    expect(model.training).toBe(true)
  })

  test('takes and gives lists and records', async () => {
    class Swap extends nn.Module {
      forward(a: Tensor | { a: Tensor; b: Tensor }, b?: Tensor): unknown {
        return b ? [b, a] : { a: (a as { b: Tensor }).b, b: (a as { a: Tensor }).a }
      }
    }
    const model = new Swap()
    const [b, a] = (await model.predict([x, y], { batchSize: 4 })) as [Tensor, Tensor]
    expect([await flatOf(a), await flatOf(b)]).toEqual([await flatOf(x), await flatOf(y)])
    const record = (await model.predict({ a: x, b: y }, { batchSize: 4 })) as { a: Tensor; b: Tensor }
    expect([await flatOf(record.b), await flatOf(record.a)]).toEqual([await flatOf(x), await flatOf(y)])
  })

  test('takes datasets of batches and of examples', async () => {
    const model = linear(3, 2)
    const expected = await flatOf(await model.predict(x))
    const rows = fromArrays({ data: (await x.data()) as Float32Array, shape: [10, 3] })
    for (const output of [await model.predict(rows.batch(4)), await model.predict(rows, { batchSize: 3 })]) {
      for (const [i, value] of (await flatOf(output)).entries()) expect(value).toBeCloseTo(expected[i]!, 5)
    }
    expect((await model.predict(fromItems([x, x]))).shape).toEqual([20, 2])
  })

  test('takes what a scaler gives', async () => {
    const model = linear(3, 2)
    const features = { data: (await x.data()) as Float32Array, shape: [10, 3] }
    const before = memory().tensors
    const output = await model.predict(features, { batchSize: 4 })
    expect(memory().tensors).toBe(before + 1)
    expect(await flatOf(output)).toEqual(await flatOf(await model.predict(x, { batchSize: 4 })))
  })

  test('leaves inputs and parameters alone that the model hands through', async () => {
    class Through extends nn.Module {
      readonly weight = new nn.Linear(1, 10).weight
      forward(input: Tensor): [Tensor, Tensor] {
        return [input, this.weight]
      }
    }
    const model = new Through()
    const before = memory().tensors
    const [input, weight] = await model.predict(x)
    expect(memory().tensors).toBe(before + 2)
    input.dispose()
    weight.dispose()
    expect(x.shape).toEqual([10, 3])
    expect(await flatOf(model.weight)).toHaveLength(10)
    expect(await flatOf(x)).toHaveLength(30)
  })

  test('refuses what it cannot take', async () => {
    const model = linear(3, 1)
    await expect(model.predict(matrix(0, 3))).rejects.toThrow('predict: there are no inputs')
    await expect(model.predict(fromItems<unknown>([]))).rejects.toThrow('predict: there are no inputs')
    await expect(model.predict(tensor(1))).rejects.toThrow('predict: inputs: a scalar has no axis of examples')
    await expect(model.predict(x, { batchSize: 0 })).rejects.toThrow(
      'predict: batchSize must be a whole number from 1 on; got 0',
    )
    await expect(model.predict([[1, 2, 3]] as never)).rejects.toThrow(/^predict: inputs must be a tensor/)
    class Mean extends nn.Module {
      forward(input: Tensor): Tensor {
        return input.mean()
      }
    }
    await expect(new Mean().predict(x, { batchSize: 5 })).rejects.toThrow('the model gave [] for 5 examples')
  })

  test('refuses datasets of other things than batches of tensors', async () => {
    const model = linear(3, 1)
    const expected = (message: RegExp) =>
      expect.objectContaining({ name: 'AnnealError', message: expect.stringMatching(message) })
    const advice = /^predict: inputs.*Give batchSize for a dataset of single examples/
    await expect(model.predict(fromArrays([1, 2, 3]))).rejects.toThrow(expected(advice))
    await expect(model.predict(fromItems([[1, 2, 3]]))).rejects.toThrow(expected(advice))
    await expect(model.predict(fromItems([tensor(1)]))).rejects.toThrow(expected(advice))
  })

  test('refuses one example without an axis of examples, rather than take it as a batch', async () => {
    const one = tensor([1, 2, 3, 4])
    const message = 'the model gave [3] for 4 examples'
    const refused = expect.objectContaining({ code: 'ERR_SHAPE', message: expect.stringContaining(message) })
    await expect(linear(4, 3).predict(one)).rejects.toThrow(refused)
    await expect(linear(4, 3).predict(one)).rejects.toThrow('expandDims(0)')
    const model = linear(4, 3).compile({ optimizer: 'sgd', loss: 'mse' })
    await expect(model.evaluate(one, tensor([1, 2, 3, 4]))).rejects.toThrow(refused)
    await expect(model.fit(one, tensor([1, 2, 3, 4]), quiet)).rejects.toThrow(refused)
    expect((await linear(4, 3).predict(one.expandDims(0))).shape).toEqual([1, 3])
  })
})

describe('evaluate', () => {
  test('gives the same whatever the batches', async () => {
    const model = linear(3, 1).compile({ optimizer: 'sgd', loss: 'mse', metrics: ['mae', 'r2', 'rmse'] })
    const whole = await model.evaluate(x, y, { batchSize: 10 })
    const parts = await model.evaluate(x, y, { batchSize: 3 })
    expect(Object.keys(parts)).toEqual(['loss', 'mae', 'r2', 'rmse'])
    for (const [name, value] of Object.entries(whole)) expect(parts[name]).toBeCloseTo(value, 4)
    expect(whole.loss).toBeCloseTo(whole.rmse! ** 2, 4)
  })

  test('several at once do not disturb each other', async () => {
    const model = linear(3, 1).compile({ optimizer: 'sgd', loss: 'mse', metrics: ['mae'] })
    const all = await model.evaluate(x, y)
    const half = await model.evaluate(x.index({ end: 5 }), y.index({ end: 5 }))
    const both = await Promise.all([
      model.evaluate(x, y, { batchSize: 2 }),
      model.evaluate(x.index({ end: 5 }), y.index({ end: 5 }), { batchSize: 2 }),
    ])
    expect(both[0].mae).toBeCloseTo(all.mae!, 5)
    expect(both[1].mae).toBeCloseTo(half.mae!, 5)
  })

  test('names itself where it refuses', async () => {
    const model = linear(3, 1).compile({ optimizer: 'sgd', loss: 'mse' })
    const seven = matrix(7, 1)
    await expect(model.evaluate(x, seven)).rejects.toThrow(/^evaluate: the numbers of examples differ/)
    await expect(model.evaluate(x as never)).rejects.toThrow(/^evaluate: data must be tensors/)
    await expect(model.evaluate(x, y, { batchSize: 0 })).rejects.toThrow(/^evaluate: batchSize must be/)
    await expect(model.evaluate(fromItems([x]))).rejects.toThrow(/^evaluate: a batch must be/)
    const validation = [x, seven] as const
    await expect(model.fit(x, y, { ...quiet, validation })).rejects.toThrow(/^fit: validation: the numbers of examples/)
  })

  test('weights count', async () => {
    const model = linear(3, 1).compile({ optimizer: 'sgd', loss: 'mse' })
    const weights = tensor([2, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    const first = await model.evaluate(x.index({ end: 1 }), y.index({ end: 1 }))
    expect((await model.evaluate([x, y, weights])).loss).toBeCloseTo(first.loss! / 5, 5)
    expect((await model.fit([x, y, weights], { ...quiet })).epochs).toBe(1)
  })
})

describe('a model whose structure changes after it was captured', () => {
  const changes: Record<string, (model: nn.Sequential) => void> = {
    'another layer': model => {
      model[0] = linear(3, 3)
    },
    'another parameter': model => {
      Object.assign(model[0]!, { weight: new Parameter(matrix(3, 3, 9)) })
    },
    'a layer more': model => void model.append(new nn.Sigmoid()),
    'a layer that stands at another place too': model => {
      model[2] = model[1]!
    },
    'int8 weights': model => void nn.quantize(model, { skip: ['3'] }),
  }

  for (const [name, change] of Object.entries(changes)) {
    test(`${name}: predict and evaluate see it`, async () => {
      const model = new nn.Sequential(linear(3, 3), new nn.Tanh(), new nn.ReLU(), linear(3, 3)).compile({
        optimizer: 'sgd',
        loss: 'mse',
      })
      const target = matrix(10, 3, 5)
      const before = [await flatOf(await model.predict(x)), await model.evaluate(x, target)]
      change(model)
      const after = [await flatOf(await model.predict(x)), await model.evaluate(x, target)]
      expect(after[0]).not.toEqual(before[0])
      const fresh = new nn.Sequential(...model).compile({ optimizer: 'sgd', loss: 'mse' })
      expect(after).toEqual([await flatOf(await fresh.predict(x)), await fresh.evaluate(x, target)])
    })
  }

  test('a fit sees it too', async () => {
    const losses: number[][] = []
    for (const capture of [true, false]) {
      manualSeed(3)
      const model = new nn.Sequential(linear(3, 2), linear(2, 1))
      model.compile({ optimizer: 'sgd', loss: 'mse', capture })
      const other = linear(2, 1)
      const epochEnd = () => {
        model[1] = other
      }
      const { metrics } = await model.fit(x, y, { ...quiet, epochs: 3, seed: 1, callbacks: [{ epochEnd }] })
      losses.push(metrics.loss!)
    }
    expect(losses[0]).toEqual(losses[1])
  })
})
