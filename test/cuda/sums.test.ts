// On a GPU the product that makes a weight's gradient adds up the bias's gradient, too.
import { autocast, compile, type DType, manualSeed, nn, optim, randomNormal, type Tensor } from 'anneal'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { native } from '../../src/native'
import { emulated, testDevice } from '../support/device'
import type { Fn } from './captured'
import { inputsOf, summed, ways } from './sums'

/** Whether products are made by own kernels, and sums by that of the operation: with the bits of both one by one. */
const exact = emulated && /missing/.test(String(native.doctorCuda().cuBLASLt))
const dtypes: DType[] = ['bfloat16', 'float16', 'float32']

describe.runIf(testDevice === 'cuda').each([
  ['as cuBLASLt does it, or after it', undefined],
  ['in a pass of its own', '0'],
])('a product takes over sums, %s,', (_, chosen) => {
  beforeEach(() => {
    manualSeed(31)
    if (chosen) process.env.ANNEAL_CUDA_EPILOGUES = chosen
  })
  afterEach(() => {
    delete process.env.ANNEAL_CUDA_EPILOGUES
  })

  test.each(dtypes)('of a layer, the gradients of weight and bias: %s', async dtype => {
    for (const [shape, inputs, outputs] of [
      [[2, 130], 24, 136],
      [[241], 23, 137],
    ] as [number[], number, number][]) {
      const layer = new nn.Linear(inputs, outputs).to(dtype)
      const gradients = (x: Tensor) => {
        layer.forward(x).square().sum().backward()
        const [weight, bias] = layer.parameters().map(({ grad }) => grad!)
        for (const parameter of layer.parameters()) parameter.grad = undefined
        return [weight!, bias!]
      }
      expect(await summed(gradients, [randomNormal([...shape, inputs]).cast(dtype)], exact)).toEqual(['matmul sum'])
    }
  })

  test.each(dtypes)('whichever factor it is, and comes first: %s', async dtype => {
    for (const fn of Object.values(ways)) expect(await summed(fn, inputsOf(dtype), exact)).toEqual(['matmul sum'])
  })

  test('in steps of training under autocast, whose updates read the gradients', async () => {
    const models = [0, 1].map(() => {
      manualSeed(33)
      const model = new nn.Sequential(new nn.Linear(24, 136), new nn.ReLU(), new nn.Linear(136, 264))
      return { model, optimizer: new optim.AdamW(model.parameters(), { lr: 0.01 }) }
    })
    const [plain, captured] = models.map(({ model, optimizer }) => (x: Tensor) => {
      const loss = autocast(() => model.forward(x), { dtype: 'bfloat16' })
        .cast('float32')
        .square()
        .mean()
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    }) as [(x: Tensor) => Tensor, (x: Tensor) => Tensor]
    const run = compile(captured)
    const x = randomNormal([2, 130, 24])
    for (let i = 0; i < 4; i++) expect(await run(x).item()).toBeCloseTo(await plain(x).item(), 2)
    const { operations } = await run.explain(x)
    expect(operations.filter(({ name }) => name === 'fusedSums')).toHaveLength(2)
  })
})

describe.runIf(testDevice === 'cuda')('no product takes over', () => {
  const others: Record<string, Fn> = {
    'sums over other axes': (a, b) => [a.transpose(0, 1).matmul(b), a.sum({ axis: 1 }), a.sum()],
    'sums over its outer axis': (a, b) => [a.matmul(b.slice([0, 0], [136, 24])), a.sum({ axis: 0 })],
    'sums of something else': (a, b) => [a.transpose(0, 1).matmul(b), a.mul(2).sum({ axis: 0 })],
    'sums of a part': (a, b) => [a.transpose(0, 1).matmul(b), a.slice([0, 0], [259, 136]).sum({ axis: 0 })],
    'sums that it waits for': (a, b) => {
      const sums = a.sum({ axis: 0 })
      return [a.transpose(0, 1).matmul(b.add(sums.sum())), sums]
    },
    'sums that are read before much else is made': (a, b) => {
      const normal = a.sub(a.sum({ axis: 0 })).softmax()
      return [normal, a.transpose(0, 1).matmul(b)]
    },
    'mean values': (a, b) => [a.transpose(0, 1).matmul(b), a.mean({ axis: 0 })],
    'few sums': (a, b) => {
      const [some, rows] = [a.slice([0, 0], [130, 136]).contiguous(), b.slice([0, 0], [130, 24])]
      return [some.transpose(0, 1).matmul(rows), some.sum({ axis: 0 })]
    },
    'those of batches': (a, b) => {
      const [some, rows] = [a.reshape([2, 130, 136]), b.reshape([2, 130, 24])]
      return [some.transpose(1, 2).matmul(rows), a.sum({ axis: 0 })]
    },
  }
  test.each(Object.entries(others))('%s', async (_, fn) => {
    manualSeed(32)
    expect(await summed(fn, inputsOf('bfloat16'), exact)).toEqual([])
  })

  test('those of float64', async () => {
    for (const fn of Object.values(ways)) expect(await summed(fn, inputsOf('float64'), exact)).toEqual([])
  })
})
