import { metrics, nn, optim, type Tensor, tensor } from 'anneal'
import { fromGenerator, fromItems } from 'anneal/data'
import { describe, expect, test } from 'vitest'
import { codeOf } from '../support/thrown'
import { linear, matrix, quiet, regression, values } from './models'

describe('what fit refuses', () => {
  const { x, y } = regression(8)
  const compiled = () => linear(3, 1).compile({ optimizer: 'sgd', loss: 'mse' })

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
    [
      'schedule',
      { schedule: () => 0.5 },
      /schedule must be an object with a method factor\(step, epoch\); got the funct/,
    ],
    ['schedule', { schedule: optim.StepSchedule }, /got the function StepSchedule/],
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
    const validation = fromItems([[x, y]])
    const rows = fromItems([[Float32Array.of(1, 2, 3), Float32Array.of(1)]])
    await expect(model.fit(rows, { ...quiet, batchSize: 1, validation })).rejects.toThrow(
      /got a Tensor.*leave out batchSize, which fit uses for validation data too.*collate/,
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
    const model = linear(3, 1)
    // @ts-expect-error: the compiler knows the names of optimizers
    expect(() => model.compile({ optimizer: 'adma', loss: 'mse' })).toThrow(/unknown optimizer/)
    // @ts-expect-error: of losses
    expect(() => model.compile({ optimizer: 'adam', loss: 'crossentropy' })).toThrow(/unknown name/)
    // @ts-expect-error: and of metrics
    expect(() => linear(3, 1).compile({ optimizer: 'adam', loss: 'mse', metrics: ['acc'] })).toThrow(/unknown metric/)
    expect(compile({ loss: 'msee' })).toThrow(/unknown name 'msee'.*mse/)
    expect(compile({ loss: undefined })).toThrow('compile: there is no loss')
    expect(compile({ loss: { a: 'constructor' } })).toThrow(/unknown name 'constructor'/)
    expect(compile({ optimizer: 'adamm' })).toThrow(/unknown optimizer 'adamm'; expected one of sgd, adam/)
    expect(compile({ optimizer: 'valueOf' })).toThrow(/unknown optimizer/)
    expect(compile({ metrics: ['acc'] })).toThrow(/unknown metric 'acc'/)
    const other = new optim.SGD(linear(3, 1).parameters(), { lr: 1 })
    expect(compile({ optimizer: other })).toThrow("the optimizer has none of this model's parameters")
  })

  test('settings of another kind', () => {
    const compile = (options: unknown) => () => linear(3, 1).compile(options as never)
    const withMetrics = (metrics: unknown) => compile({ optimizer: 'sgd', loss: 'mse', metrics })
    for (const [run, message] of [
      [compile(undefined), 'compile: expected { optimizer, loss, … }; got undefined'],
      [compile('adam'), "compile: expected { optimizer, loss, … }; got 'adam'"],
      [compile({ loss: 'mse' }), 'compile: expected optimizer to be an optimizer or its name; got undefined'],
      [
        compile({ optimizer: null, loss: 'mse' }),
        'compile: expected optimizer to be an optimizer or its name; got null',
      ],
      [compile({ optimizer: optim.Adam, loss: 'mse' }), 'or its name; got the function Adam; make one: new Adam()'],
      [withMetrics('accuracy'), "compile: expected metrics to be a list, or a list for each output; got 'accuracy'"],
      [withMetrics({ kind: 'mae' }), "compile: expected the metrics for 'kind' to be a list; got 'mae'"],
      [withMetrics(null), 'compile: expected metrics to be a list, or a list for each output; got null'],
      [withMetrics([null]), 'compile: expected a metric or its name; got null'],
      [
        withMetrics([metrics.Accuracy]),
        'compile: expected a metric or its name; got the function Accuracy; make one: new',
      ],
    ] as const) {
      expect(run).toThrow(message)
      expect(codeOf(run)).toBe('ERR_VALUE')
    }
  })

  test('losses that are no tensors', async () => {
    const wrong = (loss: () => unknown) => linear(3, 1).compile({ optimizer: 'sgd', loss: loss as never })
    const expected = 'the loss function must give a tensor, computed from the output by ops; got '
    await expect(wrong(() => 3).fit(x, y, quiet)).rejects.toThrow(`${expected}3`)
    await expect(wrong(() => undefined).evaluate(x, y)).rejects.toThrow(`${expected}undefined`)
    await expect(wrong(async () => x).fit(x, y, quiet)).rejects.toThrow(`${expected}an object of class Promise`)
    const weighted = { ...quiet, sampleWeight: tensor(Array(8).fill(1)) }
    await expect(wrong(() => 3).fit(x, y, weighted)).rejects.toThrow(`${expected}3`)
  })

  test('models without forward', async () => {
    class Silent extends (nn.Module as unknown as new () => nn.Identity) {
      readonly inner = linear(3, 1)
    }
    const message = 'Silent: the class has no method forward(); write one'
    const model = new Silent().compile({ optimizer: 'sgd', loss: 'mse' })
    for (const run of [() => model.fit(x, y, quiet), () => model.evaluate(x, y), () => model.predict(x)]) {
      await expect(run()).rejects.toThrow(message)
    }
    expect(() => model.summary([1, 3])).toThrow(message)
    expect(codeOf(() => new nn.Sequential(model).forward(x))).toBe('ERR_STATE')
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

test('a model all of whose parameters are frozen', async () => {
  const { x, y } = regression(4)
  for (const capture of [true, false]) {
    const model = linear(3, 1).compile({ optimizer: 'sgd', loss: 'mse', capture }).freeze()
    await expect(model.fit(x, y, quiet)).rejects.toMatchObject({
      code: 'ERR_STATE',
      message: expect.stringMatching(/^fit: no parameter is trainable.*unfreeze/),
    })
    await model.unfreeze().fit(x, y, quiet)
  }
})
