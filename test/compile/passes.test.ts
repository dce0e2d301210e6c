import {
  checkpoint,
  compile,
  manualSeed,
  nn,
  noGrad,
  ones,
  optim,
  Parameter,
  randomNormal,
  type Tensor,
  tensor,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { expectOperations } from '../support/joined'

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
    expectOperations(found, ['fused(mul add tanh mul)'])
  })

  test('that have nothing in common but who reads them do so, too', async () => {
    const [b, c, d] = [tensor([2, 3, 4]), x.mul(0.5), x.add(2)]
    const found = await operations((a, b, c, d) => [a.mul(b).add(c.div(d)).sub(c.exp())], x, b, c, d)
    expectOperations(found, ['fused(mul div add exp sub)'])
    // Not with what waits for somebody else.
    const alone = await operations((a, b, c) => [a.mul(b).softmax().add(a.mul(b)).sub(c.exp())], x, b, c)
    expectOperations(alone, ['mul', 'softmax', 'fused(add exp sub)'])
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
    expectOperations(found, ['fused(add mul relu square sub abs)'])
  })

  test('in float64, and not across dtypes', async () => {
    const found = await operations(a => [a.cast('float64').mul(3).exp().cast('float32').mul(2).neg()], x)
    expectOperations(found, ['cast', 'fused(mul exp)', 'cast', 'fused(mul neg)'])
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

/** A residual block as of ResNet, whose statistics are not those that it starts with. */
class Block extends nn.Module {
  readonly first = new nn.Conv2d(16, 8, 1, { bias: false })
  readonly norm = new nn.BatchNorm2d(8)
  readonly second = new nn.Conv2d(8, 16, 3, { padding: 1 })
  readonly last = new nn.BatchNorm2d(16)

  forward(x: Tensor): Tensor {
    const inner = this.norm.forward(this.first.forward(x)).relu()
    return this.last.forward(this.second.forward(inner)).add(x).relu()
  }
}

describe('what depends on weights only is computed when these change', () => {
  async function expectNear(got: Tensor, expected: Tensor) {
    const [a, b] = [await flat(got), await flat(expected)]
    for (const [i, value] of b.entries())
      expect(Math.abs(a[i]! - value)).toBeLessThan(1e-5 * Math.max(1, Math.abs(value)))
  }

  test('batch norms go into convolutions, with additions and ReLUs', async () => {
    manualSeed(2)
    const block = new Block()
    const x = randomNormal([2, 6, 6, 16])
    for (let i = 0; i < 3; i++) block.forward(randomNormal([4, 6, 6, 16]).mul(2).add(1))
    block.eval()
    const run = compile((a: Tensor) => block.forward(a))
    await noGrad(async () => {
      const { operations } = await run.explain(x)
      const found = operations.filter(op => op.name === 'convInference').map(op => op.attributes)
      expect(found).toEqual(['conv2d batchNorm relu', 'conv2d batchNorm add relu'])
      expect(operations.some(op => /^(conv2d|normalizeColumns|batchNorm)/.test(op.name))).toBe(false)
      for (let i = 0; i < 2; i++) await expectNear(run(x), block.forward(x))
      block.second.weight.assign(randomNormal([16, 3, 3, 8]))
      await expectNear(run(x), block.forward(x))
      block.norm.runningMean!.assign(ones([8]))
      await expectNear(run(x), block.forward(x))
    })
    expect(run.graphs).toBe(1)
  })

  test.each(['float16', 'bfloat16', 'float64'] as const)('of %s too', async dtype => {
    manualSeed(5)
    const block = new Block().to(dtype).eval() as Block
    const x = randomNormal([2, 6, 6, 16]).cast(dtype)
    const run = compile((a: Tensor) =>
      block.second
        .forward(a.index('...', { end: 8 }))
        .add(a)
        .relu(),
    )
    await noGrad(async () => {
      const { operations } = await run.explain(x)
      expect(operations.at(-1)!.attributes).toBe('conv2d add relu')
      const expected = await flat(
        block.second
          .forward(x.index('...', { end: 8 }))
          .add(x)
          .relu(),
      )
      const tolerance = dtype === 'float64' ? 1e-12 : 0.02
      for (const [i, value] of (await flat(run(x))).entries())
        expect(Math.abs(value - expected[i]!)).toBeLessThan(tolerance * Math.max(1, Math.abs(value)))
    })
  })

  test('also where an optimizer updates them in place', async () => {
    manualSeed(3)
    const block = new Block().eval() as Block
    const optimizer = new optim.SGD(block.parameters(), { lr: 0.1 })
    const predict = compile((a: Tensor) => block.forward(a))
    const train = compile((a: Tensor) => {
      const loss = block.forward(a).square().mean()
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
    })
    const x = randomNormal([2, 6, 6, 16])
    for (let i = 0; i < 4; i++) {
      train(x)
      await noGrad(async () => expectNear(predict(x), block.forward(x)))
    }
  })

  test('a chain of products of weights', async () => {
    manualSeed(4)
    const [a, b] = [new Parameter(randomNormal([3, 4])), new Parameter(randomNormal([4, 5]))]
    const run = compile((x: Tensor) => x.matmul(a.matmul(b).exp()))
    const x = randomNormal([2, 3])
    for (let i = 0; i < 3; i++) {
      await expectNear(
        noGrad(() => run(x)),
        x.matmul(a.matmul(b).exp()),
      )
      if (i === 1) a.assign(randomNormal([3, 4]))
    }
  })
})
