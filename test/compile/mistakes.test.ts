// A captured step whose data have a mistake, such as a label that is no class: on a GPU it is found by a kernel, when those after it
// have been started already.
import { compile, losses, manualSeed, nn, optim, type Parameter, randomNormal, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import '../support/device'
import { flat } from '../support/values'
import { network, stepOf } from './networks'

const optimizers: Record<string, (params: Parameter[]) => optim.Optimizer> = {
  SGD: params => new optim.SGD(params, { lr: 0.1, momentum: 0.9 }),
  AdamW: params => new optim.AdamW(params, { lr: 0.01 }),
  LAMB: params => new optim.LAMB(params),
  Adafactor: params => new optim.Adafactor(params),
}

/** Six labels of two classes, of which one may be none. */
const labels = (label = 1) => tensor(Int32Array.of(0, 1, label, 1, 0, 1))
const valuesOf = (model: nn.Module) => Promise.all([...model.parameters(), ...model.buffers()].map(t => flat(t)))
const mistaken = { code: 'ERR_INDEX' }

describe('a run with a mistake in its data leaves parameters and buffers as they were', () => {
  test.each(Object.entries(optimizers))('%s', async (_, make) => {
    const model = network()
    const run = compile(stepOf(model, make(model.parameters()), 'norm', false).step)
    // Somebody who keeps old values has new ones written to other memory.
    for (const held of [false, false, false, true, false]) {
      const before = await valuesOf(model)
      const state = held ? model.stateDict() : {}
      await expect(run(randomNormal([6, 3]), labels(5)).item()).rejects.toMatchObject(mistaken)
      expect(await valuesOf(model)).toEqual(before)
      expect(Number.isFinite(await run(randomNormal([6, 3]), labels()).item())).toBe(true)
      const after = await valuesOf(model)
      expect(after[0]).not.toEqual(before[0])
      expect(after.flat().every(Number.isFinite)).toBe(true)
      if (held) expect(await flat(state['first.weight']!)).toEqual(before[0])
    }
  })
})

test('runs after one with a mistake, and queued behind it, give what they give without it', async () => {
  const trained = async (mistakes: boolean) => {
    manualSeed(3)
    const model = new nn.Sequential(new nn.Linear(3, 8), new nn.BatchNorm1d(8), new nn.ReLU(), new nn.Linear(8, 2))
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
    const run = compile((x: Tensor, y: Tensor) => {
      const loss = losses.crossEntropy(model.forward(x), y)
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    })
    const batches = Array.from({ length: 6 }, () => randomNormal([6, 3]))
    const found: [Tensor | undefined, Tensor][] = []
    for (const x of batches) found.push([mistakes ? run(x, labels(5)) : undefined, run(x, labels())])
    for (const [wrong, loss] of found) {
      if (wrong) await expect(wrong.item()).rejects.toMatchObject(mistaken)
      expect(Number.isFinite(await loss.item())).toBe(true)
    }
    return valuesOf(model)
  }
  expect(await trained(true)).toEqual(await trained(false))
})
