import {
  autocast,
  compile,
  linearCrossEntropy,
  losses,
  manualSeed,
  nn,
  optim,
  Parameter,
  randomNormal,
  type Tensor,
  tensor,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'
import { codeOf } from '../support/thrown'
import { flat } from '../support/values'

describe('in mixed precision', () => {
  manualSeed(3)
  const x = randomNormal([4, 8])
  const weight = new Parameter(randomNormal([3, 8]))

  test('products are of 16 bits, coarse results of 32, and the rest is what it gets', () => {
    autocast(() => {
      const y = x.matmul(weight.transpose(0, 1))
      expect(y.dtype).toBe('bfloat16')
      expect(y.relu().mul(2).dtype).toBe('bfloat16')
      expect(y.softmax().dtype).toBe('float32')
      expect(y.sum().dtype).toBe('float32')
      expect(y.add(x.index('...', { end: 3 })).dtype).toBe('float32')
      expect(losses.crossEntropy(y, tensor(Int32Array.of(0, 1, 2, 0))).dtype).toBe('float32')
      expect(x.matmul(x.cast('float64').cast('float32').transpose(0, 1)).dtype).toBe('bfloat16')
      expect(x.cast('float64').matmul(x.cast('float64').transpose(0, 1)).dtype).toBe('float64')
    })
    expect(autocast(() => x.matmul(weight.transpose(0, 1)).dtype, { dtype: 'float16' })).toBe('float16')
    expect(x.matmul(weight.transpose(0, 1)).dtype).toBe('float32')
  })

  test('a product has the value of its rounded factors', async () => {
    const low = (t: Tensor) => t.detach().cast('bfloat16').cast('float32')
    const got = await flat(autocast(() => x.matmul(weight.transpose(0, 1))))
    const expected = await flat(low(low(x).matmul(low(weight).transpose(0, 1))))
    for (const [i, value] of expected.entries()) expect(got[i]).toBeCloseTo(value, 1)
  })

  test('gradients are of 32 bits, also where backward() is called outside', async () => {
    weight.grad = undefined
    const loss = autocast(() => x.matmul(weight.transpose(0, 1)).square().mean())
    loss.backward()
    const mixed = weight.grad as unknown as Tensor
    expect(mixed.dtype).toBe('float32')
    weight.grad = undefined
    x.matmul(weight.transpose(0, 1)).square().mean().backward()
    const exact = await flat(weight.grad as unknown as Tensor)
    const scale = Math.max(...exact.map(Math.abs))
    for (const [i, value] of (await flat(mixed)).entries())
      expect(Math.abs(value - exact[i]!)).toBeLessThan(0.03 * scale)
  })

  test('norms of channels pass on what convolutions give, with statistics and gradients of 32 bits', async () => {
    manualSeed(4)
    const images = randomNormal([2, 5, 5, 3])
    const cotangent = randomNormal([2, 3, 3, 8])
    const model = new nn.Sequential(
      new nn.Conv2d(3, 8, 3, { bias: false }),
      new nn.BatchNorm2d(8),
      new nn.Tanh(),
      new nn.GroupNorm(2, 8),
    )
    const run = () => {
      const y = model.forward(images)
      y.cast('float32').mul(cotangent).sum().backward()
      return y
    }
    const y = autocast(run)
    expect(y.dtype).toBe('bfloat16')
    const mixed = await Promise.all(model.parameters().map(p => flat(p.grad!)))
    expect(model.parameters().every(p => p.grad!.dtype === 'float32')).toBe(true)
    expect(model.buffers().every(b => b.dtype !== 'bfloat16')).toBe(true)
    for (const p of model.parameters()) p.grad = undefined
    const exact = run()
    const scale = (values: number[]) => Math.max(...values.map(Math.abs))
    const close = (got: number[], expected: number[]) => {
      for (const [i, value] of expected.entries())
        expect(Math.abs(got[i]! - value)).toBeLessThan(0.04 * scale(expected))
    }
    close(await flat(y), await flat(exact))
    for (const [i, p] of model.parameters().entries()) close(mixed[i]!, await flat(p.grad!))
  })

  test('the cross-entropy of a linear layer multiplies 16 bits, and is of 32', async () => {
    const target = tensor(Int32Array.of(0, 2, -100, 1))
    const run = (bias?: Tensor) => linearCrossEntropy(x, weight, target, bias)
    for (const bias of [undefined, new Parameter(randomNormal([3]))]) {
      weight.grad = undefined
      const loss = autocast(() => run(bias))
      expect(loss.dtype).toBe('float32')
      loss.backward()
      const mixed = [await flat(weight.grad as unknown as Tensor), bias ? await flat((bias as Parameter).grad!) : []]
      weight.grad = undefined
      if (bias) (bias as Parameter).grad = undefined
      const exact = run(bias)
      exact.backward()
      const expected = [await flat(weight.grad as unknown as Tensor), bias ? await flat((bias as Parameter).grad!) : []]
      const [got, wanted] = [await loss.item(), await exact.item()]
      expect(got).not.toBe(wanted) // 16 bits were multiplied
      expect(got).toBeCloseTo(wanted, 1)
      for (const [k, values] of expected.entries())
        for (const [i, value] of values.entries()) expect(Math.abs(mixed[k]![i]! - value)).toBeLessThan(0.02)
    }
  })

  test('of another dtype it is refused', () => {
    expect(() => autocast(() => x, { dtype: 'float32' as 'float16' })).toThrow(
      /expected bfloat16 or float16; got float32/,
    )
  })
})

test('a captured step does the same, and knows the mode that it is called in', async () => {
  async function trained(captured: boolean): Promise<number[][]> {
    manualSeed(5)
    const model = new nn.Sequential(new nn.Linear(8, 16), new nn.LayerNorm([16]), new nn.GELU(), new nn.Linear(16, 2))
    const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 })
    const step = (x: Tensor) => {
      const loss = model.forward(x).square().mean()
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    }
    const run = captured ? compile(step) : step
    const found: number[][] = []
    for (let i = 0; i < 4; i++) {
      const x = randomNormal([5, 8])
      found.push(await flat(i === 2 ? run(x) : autocast(() => run(x))))
    }
    return found
  }
  const [plain, captured] = [await trained(false), await trained(true)]
  for (const [i, [value]] of plain.entries()) expect(captured[i]![0]).toBeCloseTo(value!, 3)
})

test.skipIf(testDevice === 'cpu').each([['bfloat16'], ['float16']] as const)(
  'a captured function rounds parameters to %s all at once on a GPU',
  async dtype => {
    manualSeed(6)
    const sizes = Array.from({ length: 100 }, (_, i) => (i % 9 === 4 ? 4096 + i : i % 13))
    const parameters = sizes.map(size => new Parameter(randomNormal([size]).mul(100)))
    const special = new Parameter(tensor([Number.NaN, Infinity, -Infinity, -0, 65520, 1e-8, 3e38, 1.00390625]))
    const run = compile(() => [...parameters, special].map(p => p.cast(dtype)))
    for (let i = 0; i < 2; i++) {
      const [found, expected] = [run(), [...parameters, special].map(p => p.detach().cast(dtype))]
      for (const [k, values] of expected.entries()) expect(await found[k]!.data()).toEqual(await values.data())
    }
    const { operations } = await run.explain()
    expect(operations.map(({ name }) => name)).toEqual(['castAll'])
  },
)

test.each([['bfloat16'], [{ fp8: true }]] as const)('fit, evaluate and predict do so when asked: %j', async low => {
  manualSeed(1)
  const model = new nn.Sequential(new nn.Linear(3, 16), new nn.Tanh(), new nn.Linear(16, 1))
  model.compile({ optimizer: new optim.Adam({ lr: 0.02 }), loss: 'mse', autocast: low })
  const x = randomNormal([64, 3])
  const y = x.matmul(tensor([[1], [-2], [0.5]])).tanh()
  const history = await model.fit([x, y], { epochs: 30, progress: false })
  expect(history.metrics.loss!.at(-1)).toBeLessThan(0.2 * history.metrics.loss![0]!)
  expect((await model.evaluate([x, y])).loss).toBeLessThan(0.1)
  const predicted = (await model.predict(x, { batchSize: 64 })) as Tensor
  expect(predicted.dtype).toBe('bfloat16')
  const options = typeof low === 'string' ? { dtype: low } : low
  expect(await flat(predicted)).toEqual(await flat(autocast(() => model.forward(x), options)))
  expect(model.parameters().every(p => p.dtype === 'float32')).toBe(true)
})

test('what cannot be computed in is refused by compile', () => {
  const model = new nn.Linear(3, 1)
  for (const low of [{ fp8: true, dtype: 'float16' } as const, 'float32' as 'float16'])
    expect(codeOf(() => model.compile({ optimizer: 'sgd', loss: 'mse', autocast: low }))).toBe('ERR_DTYPE')
})
