import { setTimeout as pause } from 'node:timers/promises'
import { memory, nn, optim, type Tensor } from 'anneal'
import { fromGenerator } from 'anneal/data'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { linear, quiet, regression, values } from './models'

const { x, y } = regression(64)
const aborted = expect.objectContaining({ name: 'AnnealError', code: 'ERR_ABORTED' })
const abortedIn = (where: string) =>
  expect.objectContaining({ code: 'ERR_ABORTED', message: `${where}: aborted through its signal` })
const compiled = () => linear(3, 1).compile({ optimizer: new optim.SGD({ lr: 0.01 }), loss: 'mse', metrics: ['mae'] })

const unhandled: unknown[] = []
const note = (reason: unknown) => void unhandled.push(reason)
beforeEach(() => void process.on('unhandledRejection', note))
afterEach(async () => {
  await pause(5)
  process.off('unhandledRejection', note)
  expect(unhandled.splice(0)).toEqual([])
})

/** Aborts once `calls` forward passes have been made. */
function abortAfter(model: nn.Module, calls: number): AbortSignal {
  const controller = new AbortController()
  let made = 0
  model.registerForwardHook(() => {
    if (++made === calls) controller.abort(new Error('enough'))
    return undefined
  })
  return controller.signal
}

test('before it begins: nothing happens', async () => {
  const model = compiled()
  const before = await values(model)
  const signal = AbortSignal.abort()
  await expect(model.fit(x, y, { ...quiet, signal })).rejects.toThrow(abortedIn('fit'))
  await expect(model.evaluate(x, y, { signal })).rejects.toThrow(abortedIn('evaluate'))
  await expect(model.predict(x, { signal })).rejects.toThrow(abortedIn('predict'))
  expect(await values(model)).toEqual(before)
})

describe('in the middle', () => {
  test('the model keeps what it learnt, in the mode that it had, and can be trained on', async () => {
    const model = compiled()
    const before = await values(model)
    model.eval()
    const signal = abortAfter(model, 3)
    await expect(model.fit(x, y, { ...quiet, batchSize: 8, signal })).rejects.toThrow(aborted)
    expect(model.training).toBe(false)
    expect(await values(model)).not.toEqual(before)
    expect(model.parameters().every(parameter => parameter.grad === undefined)).toBe(true)
    expect((await model.fit(x, y, quiet)).epochs).toBe(1)
  })

  test('it stops after the step at hand, and tells why', async () => {
    const model = compiled()
    let steps = 0
    const callbacks = [{ stepEnd: () => void steps++ }]
    const signal = abortAfter(model, 2)
    const error = await model.fit(x, y, { ...quiet, batchSize: 8, signal, callbacks }).catch(e => e)
    expect(error.cause).toEqual(new Error('enough'))
    expect(steps).toBe(2)
  })

  test('after the last batch of an epoch', async () => {
    const model = compiled()
    const signal = abortAfter(model, 8)
    await expect(model.fit(x, y, { ...quiet, batchSize: 8, signal })).rejects.toThrow(aborted)
  })

  test('during validation', async () => {
    const model = compiled()
    const signal = abortAfter(model, 8 + 3)
    await expect(model.fit(x, y, { ...quiet, batchSize: 8, signal, validation: [x, y] })).rejects.toThrow(aborted)
    expect(model.training).toBe(true)
  })

  test('while data are awaited', async () => {
    const controller = new AbortController()
    const never = fromGenerator(async function* () {
      yield [x, y]
      await new Promise(() => {})
    })
    setTimeout(() => controller.abort(), 10)
    const options = { ...quiet, signal: controller.signal }
    await expect(compiled().fit(never, options)).rejects.toThrow('fit: aborted through its signal')
    await expect(compiled().evaluate(never, options)).rejects.toThrow(aborted)
  })

  test('of an evaluation and a prediction', async () => {
    const model = compiled()
    const { tensors } = memory()
    await expect(model.evaluate(x, y, { batchSize: 8, signal: abortAfter(model, 3) })).rejects.toThrow(aborted)
    await expect(model.predict(x, { batchSize: 8, signal: abortAfter(model, 3) })).rejects.toThrow(aborted)
    expect(model.training).toBe(true)
    expect(memory().tensors).toBe(tensors)
  })
})

test('a fault of the device rejects and leaves no rejection behind', async () => {
  class Wrong extends nn.Module {
    readonly table = new nn.Embedding(4, 1)
    forward(input: Tensor): Tensor {
      return this.table.forward(input.abs().mul(100).cast('int64')).reshape([input.shape[0]!, -1])
    }
  }
  const model = new Wrong().compile({ optimizer: 'sgd', loss: 'mse' })
  const target = x.mul(1)
  await expect(model.fit(x, target, { ...quiet, batchSize: 16 })).rejects.toThrow(
    expect.objectContaining({ code: 'ERR_INDEX' }),
  )
  await expect(model.evaluate(x, target)).rejects.toThrow(expect.objectContaining({ code: 'ERR_INDEX' }))
})
