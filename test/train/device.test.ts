import { getDevice, losses, manualSeed, memory, nn, optim, setDevice, type Tensor } from 'anneal'
import { fromArrays } from 'anneal/data'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'
import { flatOf, quiet, regression } from './models'

const before = getDevice()

/** A network that begins the same on every device. */
function network(): nn.Sequential {
  manualSeed(3)
  return new nn.Sequential(new nn.Linear(3, 8), new nn.Tanh(), new nn.Linear(8, 1))
}

function compiled(model: nn.Sequential): nn.Sequential {
  model.compile({ optimizer: new optim.Adam({ lr: 0.01 }), loss: losses.mse, metrics: ['mae'] })
  return model
}

describe.skipIf(testDevice === 'cpu')('a model on a GPU and data on the CPU', () => {
  beforeAll(() => void setDevice('cpu'))
  afterAll(() => void setDevice(before))

  const models = () => [compiled(network()), compiled(network().to('cuda') as nn.Sequential)] as const

  function near(found: ArrayLike<number>, expected: ArrayLike<number>): void {
    expect(found.length).toBe(expected.length)
    for (let i = 0; i < found.length; i++) expect(found[i]).toBeCloseTo(expected[i]!, 4)
  }

  test('fit, evaluate and predict move the batches', async () => {
    const { x, y } = regression(50)
    const [here, there] = models()
    const options = { epochs: 3, batchSize: 16, seed: 5, ...quiet }
    const expected = await here.fit(x, y, options)
    const found = await there.fit(x, y, options)
    near(found.metrics.loss!, expected.metrics.loss!)
    near(Object.values(await there.evaluate(x, y)), Object.values(await here.evaluate(x, y)))
    const predicted = (await there.predict(x)) as Tensor
    expect(predicted.device).toBe('cuda:0')
    near(await flatOf(predicted), await flatOf((await here.predict(x)) as Tensor))
  })

  test('a dataset, too; nothing is left on either device', async () => {
    const { x, y } = regression(40)
    const rows = (await x.toArray()) as number[][]
    const targets = (await y.toArray()) as number[][]
    const data = fromArrays(rows, targets).batch(8)
    const [here, there] = models()
    const expected = await here.fit(data, { epochs: 2, ...quiet })
    const found = await there.fit(data, { epochs: 2, ...quiet })
    near(found.metrics.loss!, expected.metrics.loss!)
    const { used } = memory('cuda')
    await there.fit(data, { epochs: 4, ...quiet })
    expect(memory('cuda').used).toBeLessThanOrEqual(used + 4096)
  })

  test('data on the GPU serves as well', async () => {
    const { x, y } = regression(50)
    const [here, there] = models()
    const options = { epochs: 2, batchSize: 16, seed: 5, ...quiet }
    const expected = await here.fit(x, y, options)
    near((await there.fit(x.to('cuda'), y.to('cuda'), options)).metrics.loss!, expected.metrics.loss!)
  })
})
