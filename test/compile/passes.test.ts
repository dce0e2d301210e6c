import { checkpoint, compile, manualSeed, nn, ones, optim, Parameter, randomNormal, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'

const flat = async (t: Tensor) => Array.from(await t.data(), Number)

/** The operations of the captured function by name, after checking that it computes what the function does. */
async function operations(fn: (...inputs: Tensor[]) => Tensor[], ...inputs: Tensor[]): Promise<string[]> {
  manualSeed(1)
  const expected = await Promise.all(fn(...inputs).map(flat))
  const run = compile(fn)
  for (let i = 0; i < 2; i++) {
    manualSeed(1)
    expect(await Promise.all(run(...inputs).map(flat))).toEqual(expected)
  }
  const { operations } = await run.explain(...inputs)
  return operations.map(op => (op.name === 'fusedElementwise' ? `fused(${op.attributes})` : op.name))
}

const x = tensor([
  [1, -2, 3],
  [-4, 5, -6],
])

test('operations whose results nobody reads are dropped', async () => {
  const found = await operations(a => {
    a.matmul(a.transpose(0, 1)).exp()
    return [a.neg()]
  }, x)
  expect(found).toEqual(['neg'])
})

describe('equal expressions', () => {
  test('are computed once', async () => {
    const found = await operations(a => [a.sum({ axis: 0 }), a.sum({ axis: 0 }), a.sum({ axis: 1 })], x)
    expect(found).toEqual(['sum', 'sum'])
  })

  test('with other attributes or of random numbers are not one', async () => {
    const found = await operations(a => [a.softmax({ axis: 0 }), a.softmax(), a.dropout(), a.dropout()], x)
    expect(found).toEqual(['softmax', 'softmax', 'dropoutMask', 'dropoutMask'])
  })

  test('that are recomputed by choice stay so', async () => {
    const weight = new Parameter(ones([3, 3]))
    const run = compile((a: Tensor) => {
      const loss = checkpoint(t => t.matmul(weight).tanh(), a).sum()
      loss.backward()
      const { grad } = weight
      weight.grad = undefined
      return [loss, grad]
    })
    const { operations } = await run.explain(x)
    expect(operations.filter(op => `${op.name} ${op.attributes} `.includes('tanh '))).toHaveLength(2)
  })
})

test('what depends on constants only is computed when the graph is planned', async () => {
  const found = await operations(a => [a.add(ones([3]).cumsum(0).mul(2).reshape([1, 3]))], x)
  expect(found).toEqual(['add'])
})

test('operations that change nothing are dropped', async () => {
  const found = await operations(a => [a.mul(1).div(1).sub(0).pow(1).cast('float32').neg()], x)
  expect(found).toEqual(['neg'])
})

describe('elementwise operations', () => {
  test('become one pass', async () => {
    const found = await operations((a, b) => [a.mul(b).add(1).tanh().mul(a)], x, tensor([2, 3, 4]))
    expect(found).toEqual(['fused(mul add tanh mul)'])
  })

  test('of any layout and dtype, with results that are used elsewhere too', async () => {
    const big = randomNormal([70, 3, 50])
    const found = await operations(
      (a, b, c) => {
        const sum = a.transpose(0, 2).add(b)
        const scaled = sum.mul(c).relu()
        return [scaled, sum, scaled.square().sub(sum).abs()]
      },
      big,
      randomNormal([3, 70]),
      tensor(Int32Array.of(3)),
    )
    expect(found).toEqual(['fused(add mul relu square sub abs)'])
  })

  test('in float64, and not across dtypes', async () => {
    const found = await operations(a => [a.cast('float64').mul(3).exp().cast('float32').mul(2).neg()], x)
    expect(found).toEqual(['cast', 'fused(mul exp)', 'cast', 'fused(mul neg)'])
  })

  test('do not move behind what needs them', async () => {
    const found = await operations(a => {
      const shifted = a.add(1)
      return [shifted.mul(shifted.softmax())]
    }, x)
    expect(found).toEqual(['add', 'softmax', 'mul'])
  })

  test('read the old value of a parameter before it is replaced', async () => {
    const weight = new Parameter(tensor([1, 2, 3]))
    const optimizer = new optim.SGD([weight], { lr: 0.5 })
    const run = compile((a: Tensor) => {
      weight.grad = undefined
      a.mul(weight).sum().backward()
      const before = weight.mul(10)
      optimizer.step()
      return before.add(weight)
    })
    expect(await flat(run(ones([1, 3])))).toEqual([10.5, 21.5, 32.5])
    expect(await flat(run(ones([1, 3])))).toEqual([5, 16, 27])
  })
})

test('results that live at different times share memory', async () => {
  const size = 1 << 16
  const model = Array.from({ length: 20 }, () => new nn.Tanh())
  const run = compile((a: Tensor) => model.reduce((t, m) => m.forward(t.cumsum(0)), a).sum())
  const { arenaBytes } = await run.explain(randomNormal([size]))
  expect(arenaBytes).toBeLessThanOrEqual(2 * 4 * size + 64)
})
