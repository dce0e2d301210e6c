// Steps one by one, not captured, whose data have a mistake.
import { losses, manualSeed, nn, optim, type Parameter, randomNormal, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { flat } from '../support/values'

const optimizers: Record<string, (params: Parameter[]) => optim.Optimizer> = {
  SGD: params => new optim.SGD(params, { lr: 0.1 }),
  momentum: params => new optim.SGD(params, { lr: 0.1, momentum: 0.9 }),
  AdamW: params => new optim.AdamW(params, { lr: 0.01 }),
  RMSprop: params => new optim.RMSprop(params, { lr: 0.01 }),
  Lion: params => new optim.Lion(params),
  LAMB: params => new optim.LAMB(params),
  Adafactor: params => new optim.Adafactor(params, { lr: 0.1 }),
  Muon: params => new optim.Muon(params, { nesterov: false }),
}

const valuesOf = (tensors: readonly Tensor[]) => Promise.all(tensors.map(t => flat(t)))

describe('a step on data with a mistake leaves parameters, states and buffers as they were', () => {
  test.each(Object.entries(optimizers))('%s', async (name, make) => {
    manualSeed(4)
    const table = new nn.Embedding(5, 6)
    const norm = new nn.BatchNorm1d(6)
    const head = new nn.Linear(6, 2, { bias: name !== 'Muon' })
    const model = new nn.Sequential(table, norm, head)
    const trained = model.parameters().filter(p => name !== 'Muon' || p.ndim === 2)
    const optimizer = make(trained)
    const average = new optim.ExponentialMovingAverage(trained)
    const step = (rows: number[], label: number) => {
      optimizer.zeroGrad()
      const loss = losses.crossEntropy(model.forward(tensor(Int32Array.from(rows))), tensor(Int32Array.of(0, 1, label)))
      loss.backward()
      optimizer.step()
      average.update()
      return loss
    }
    const kept = () => [
      ...model.parameters(),
      ...Object.values((optimizer.stateDict() as { tensors: Record<string, Tensor> }).tensors),
    ]
    const all = () => [...kept(), ...model.buffers(), ...average.averages()]
    expect(Number.isFinite(await step([0, 1, 2], 1).item())).toBe(true)
    for (const held of [false, true]) {
      const before = await valuesOf(kept())
      const snapshot = held ? all().map(t => t.detach()) : []
      const mistakes = [step([0, 1, 2], 7), step([0, 9, 2], 1)] // in the loss, and before the batch norm
      for (const lost of mistakes) await expect(lost.item()).rejects.toMatchObject({ code: 'ERR_INDEX' })
      expect(await valuesOf(kept())).toEqual(before)
      if (held) expect((await valuesOf(snapshot)).slice(0, before.length)).toEqual(before)
      for (const values of await valuesOf(all())) expect(values.every(Number.isFinite)).toBe(true)
      expect(Number.isFinite(await step([3, 1, 4], 0).item())).toBe(true)
      expect((await valuesOf(kept()))[0]).not.toEqual(before[0])
    }
  })
})

test('a value that somebody else holds rejects, and so does what takes it over', async () => {
  const cell = new nn.Linear(2, 2).weight
  const wrong = randomNormal([3, 2]).indexSelect(tensor(Int32Array.of(0, 7)), 0)
  cell.assign(wrong)
  await expect(wrong.data()).rejects.toMatchObject({ code: 'ERR_INDEX' })
  await expect(cell.data()).rejects.toMatchObject({ code: 'ERR_INDEX' })
})
