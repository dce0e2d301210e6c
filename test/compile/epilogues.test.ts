// What follows products and their gradients is computed with them, and gives what it gives by itself.
import {
  compile,
  type DType,
  manualSeed,
  nn,
  noGrad,
  optim,
  Parameter,
  randomNormal,
  type Tensor,
  tensor,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'
import { expectJoined } from '../support/joined'
import { flat } from '../support/values'
import { distance, fused, withGradients } from './fused'

const activations: [string, (x: Tensor) => Tensor][] = [
  ['relu', x => x.relu()],
  ['gelu', x => x.gelu()],
  ['gelu', x => x.gelu({ approximate: 'tanh' })],
  ['silu', x => x.silu()],
  ['tanh', x => x.tanh()],
  ['sigmoid', x => x.sigmoid()],
  ['selu', x => x.selu()],
  ['leakyRelu', x => x.leakyRelu()],
]

describe('a product takes over', () => {
  // Rows that suit each way of computing products: inner products, weights read in place, blocks, libraries.
  const rows = [[1], [3], [7], [16], [2, 33], [450], [0]]

  test.each(rows)('the activation and the residual after it, with %s rows', async (...shape) => {
    manualSeed(1)
    const layer = new nn.Linear(96, 300)
    const x = randomNormal([...shape, 96])
    const residual = randomNormal([...shape, 300])
    for (const [name, activation] of activations) {
      const found = await noGrad(() => fused((a, b) => [activation(layer.forward(a)).add(b)], [x, residual]))
      expectJoined(found, [`linear ${name} add`])
    }
  })

  test.each(rows)('the gradient of an activation, with %s rows', async (...shape) => {
    manualSeed(2)
    const [first, second] = [new nn.Linear(70, 130), new nn.Linear(130, 90, { bias: false })]
    const x = randomNormal([...shape, 70])
    for (const [, activation] of activations) {
      const fn = (a: Tensor) => second.forward(activation(first.forward(a))).add(1)
      const found = await fused(withGradients(fn, [...first.parameters(), ...second.parameters()]), [x], {
        tolerance: 1e-5,
      })
      if (testDevice === 'cpu') expect(found).toHaveLength(3)
      else expectJoined(found, [])
    }
  })

  test('what is there of any dtype and layout', async () => {
    manualSeed(3)
    const weight = randomNormal([96, 300])
    const x = randomNormal([96, 40])
    const found = await fused(
      (a, b, c, d) => [a.transpose(0, 1).matmul(weight).mul(b).add(c).add(d)],
      [x, randomNormal([300, 40]).transpose(0, 1), randomNormal([40, 1]).cast('bfloat16'), tensor(Int32Array.of(3))],
    )
    expectJoined(found, ['matmul mul add add'])
  })

  test.each(['float64', 'bfloat16', 'float16'] as const)('what it computes in %s', async (dtype: DType) => {
    manualSeed(4)
    const layer = new nn.Linear(96, 300).to(dtype)
    const x = randomNormal([20, 96]).cast(dtype)
    const found = await noGrad(() => fused(a => [layer.forward(a).tanh().add(1)], [x], { tolerance: 1e-12 }))
    expectJoined(found, dtype === 'float64' ? ['linear tanh add'] : []) // 16 bits are rounded after every operation
  })

  test('products of batches and of vectors', async () => {
    manualSeed(5)
    const [a, b] = [randomNormal([3, 20, 30]), randomNormal([3, 30, 40])]
    expectJoined(await fused((x, y) => [x.matmul(y).relu()], [a, b]), ['matmul relu'])
    const turned = randomNormal([3, 300, 70]).transpose(1, 2) // with weights that could be read in place
    expectJoined(await fused((x, y) => [x.matmul(y).add(1)], [randomNormal([3, 20, 70]), turned]), ['matmul add'])
    expectJoined(await fused((x, y) => [x.matmul(y).relu()], [a, randomNormal([30])]), ['matmul relu'])
    expectJoined(await fused((x, y) => [x.matmul(y).exp()], [randomNormal([30]), randomNormal([30])]), [])
  })

  test('results that others read too', async () => {
    manualSeed(6)
    const layer = new nn.Linear(96, 300)
    const x = randomNormal([40, 96])
    const found = await noGrad(() =>
      fused(
        a => {
          const y = layer.forward(a)
          const activated = y.gelu()
          return [activated.mul(y), y.softmax(), activated.softmax(), y]
        },
        [x],
      ),
    )
    expectJoined(found, ['linear gelu mul'])
  })

  test('one of two products in a sum, the later one', async () => {
    manualSeed(7)
    const [first, second] = [new nn.Linear(96, 300), new nn.Linear(96, 300)]
    const found = await noGrad(() =>
      fused(a => [first.forward(a).add(second.forward(a)).relu()], [randomNormal([40, 96])]),
    )
    expectJoined(found, ['linear add relu'])
  })

  test('not what reads it in another shape', async () => {
    manualSeed(8)
    const layer = new nn.Linear(96, 300)
    const x = randomNormal([40, 96])
    expectJoined(await noGrad(() => fused(a => [layer.forward(a).reshape([300, 40]).tanh()], [x])), [])
    expectJoined(await noGrad(() => fused(a => [layer.forward(a).transpose(0, 1).tanh()], [x])), [])
    const wider = randomNormal([2, 40, 300])
    expectJoined(await noGrad(() => fused(a => [layer.forward(a).add(wider)], [x])), [])
  })

  test('and reads the old value of a parameter before it is replaced', async () => {
    const weight = new Parameter(tensor([[2, 3]]))
    const optimizer = new optim.SGD([weight], { lr: 1 })
    const run = compile((a: Tensor) => {
      weight.grad = undefined
      a.mul(weight).sum().backward()
      const before = a.matmul(weight.transpose(0, 1))
      optimizer.step()
      return before.mul(10)
    })
    expect(await flat(run(tensor([[1, 1]])))).toEqual([50])
    expect(await flat(run(tensor([[1, 1]])))).toEqual([30])
  })
})

test.each(['float32', 'float64'] as const)('weights that are read in place, in blocks: %s', async dtype => {
  manualSeed(15)
  const weight = randomNormal([290, 700]).cast(dtype)
  const [bias, turned] = [randomNormal([290]).cast(dtype), weight.transpose(0, 1).contiguous()]
  for (const rows of [5, 8, 9, 31, 300]) {
    const x = randomNormal([rows, 700]).cast(dtype)
    for (const one of [x, x.transpose(0, 1).contiguous().transpose(0, 1)]) {
      const [found, expected] = await Promise.all([flat(one.linear(weight, bias)), flat(x.matmul(turned).add(bias))])
      expect(distance(found, expected)).toBeLessThan(dtype === 'float32' ? 1e-5 : 1e-14)
    }
  }
})
