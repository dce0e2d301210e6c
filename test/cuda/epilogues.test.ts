// On a GPU products take over what cuBLASLt has epilogues for, or what one kernel of ours does after them.
import { compile, type DType, manualSeed, nn, noGrad, randomNormal, type Tensor, tensor } from 'anneal'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { native } from '../../src/native'
import { emulated, testDevice } from '../support/device'
import { flat } from '../support/values'

/** Whether products are made by own kernels, whose bits are those of operations one by one. */
const exact = emulated && /missing/.test(String(native.doctorCuda().cuBLASLt))

type Fn = (...inputs: Tensor[]) => Tensor[]

/**
 * What products are joined with in the captured function, after checking that its results are those of the function.
 * cuBLASLt rounds less often, and adds up in another order.
 */
async function joined(fn: Fn, inputs: Tensor[]): Promise<string[]> {
  const expected = await Promise.all(fn(...inputs).map(flat))
  const run = compile(fn)
  for (let i = 0; i < 3; i++) {
    const results = await Promise.all(run(...inputs).map(flat))
    if (exact) expect(results).toEqual(expected)
    for (const [k, values] of expected.entries())
      for (const [j, value] of values.entries()) expect(results[k]![j]).toBeCloseTo(value, 1)
  }
  const { operations } = await run.explain(...inputs)
  return operations.filter(({ name }) => name === 'fusedEpilogue').map(({ attributes }) => attributes)
}

const activations: [string, (x: Tensor) => Tensor][] = [
  ['relu', x => x.relu()],
  ['gelu', x => x.gelu()],
  ['gelu', x => x.gelu({ approximate: 'tanh' })],
]

/** The function with the gradients of its inputs and of these parameters. */
const withGradients = (fn: (x: Tensor) => Tensor, module: nn.Module) => (x: Tensor) => {
  const y = fn(x)
  y.mul(0.5).square().sum().backward()
  const gradients = module.parameters().map(({ grad }) => grad!)
  for (const parameter of module.parameters()) parameter.grad = undefined
  return [y, ...gradients]
}

describe.runIf(testDevice === 'cuda').each([
  ['in one kernel, or as cuBLASLt does it', undefined],
  ['in a pass of its own', '0'],
])('a product on a GPU takes over, %s,', (_, chosen) => {
  beforeEach(() => {
    manualSeed(21)
    if (chosen) process.env.ANNEAL_CUDA_EPILOGUES = chosen
  })
  afterEach(() => {
    delete process.env.ANNEAL_CUDA_EPILOGUES
  })

  const dtypes: DType[] = ['float32', 'float64', 'bfloat16', 'float16']
  const rows = [[1], [7], [2, 33], [130], [0]]

  test.each(dtypes)('the activation after it: %s', async dtype => {
    for (const shape of rows) {
      const layer = new nn.Linear(24, 72).to(dtype)
      const x = randomNormal([...shape, 24]).cast(dtype)
      for (const [name, activation] of activations)
        expect(await noGrad(() => joined(a => [activation(layer.forward(a))], [x]))).toEqual([`linear ${name}`])
    }
  })

  test.each(dtypes)('an addition before that, and what others read of it: %s', async dtype => {
    const layer = new nn.Linear(24, 72).to(dtype)
    const [x, residual] = [randomNormal([5, 24]).cast(dtype), randomNormal([5, 72]).cast(dtype)]
    for (const [name, activation] of activations) {
      const sum: Fn = (a, b) => [layer.forward(a).add(b)]
      const both: Fn = (a, b) => [activation(b.add(layer.forward(a)))]
      const all: Fn = (a, b) => {
        const y = layer.forward(a).add(b)
        return [y, activation(y)]
      }
      const before: Fn = a => {
        const y = layer.forward(a)
        return [activation(y), y.softmax()]
      }
      expect(await noGrad(() => joined(sum, [x, residual]))).toEqual(['linear add'])
      expect(await noGrad(() => joined(both, [x, residual]))).toEqual([`linear add ${name}`])
      expect(await noGrad(() => joined(all, [x, residual]))).toEqual([`linear add ${name}`])
      expect(await noGrad(() => joined(before, [x]))).toEqual([`linear ${name}`])
    }
  })

  test.each(dtypes)('gradients of activations: %s', async dtype => {
    for (const [name, activation] of activations) {
      const [first, second] = [new nn.Linear(16, 40).to(dtype), new nn.Linear(40, 24, { bias: false }).to(dtype)]
      const fn = withGradients(x => second.forward(activation(first.forward(x))), new nn.Sequential(first, second))
      const gradient = name === 'relu' ? 'reluGrad' : /gelu(Tanh)?Grad/
      const found = await joined(fn, [randomNormal([9, 16]).cast(dtype)])
      expect(found[0]).toBe(`linear ${name}`)
      expect(found[1]).toMatch(gradient)
      expect(found).toHaveLength(2)
    }
  })

  test('a bias that is added, in batches, to results of vectors, and of odd layouts', async () => {
    const [x, weight, bias] = [randomNormal([3, 5, 24]), randomNormal([24, 72]), randomNormal([72])]
    expect(await joined((a, w, b) => [a.matmul(w).add(b).relu()], [x, weight, bias])).toEqual(['matmul add relu'])
    const batch = randomNormal([3, 24, 72])
    expect(await joined((a, w, b) => [a.matmul(w).add(b.reshape([1, 72]))], [x, batch, bias])).toEqual(['matmul add'])
    const residual = randomNormal([3, 5, 72])
    expect(await joined((a, w, r) => [a.matmul(w).add(r).gelu()], [x, batch, residual])).toEqual(['matmul add gelu'])
    expect(await joined((a, b) => [a.matmul(b).relu()], [x, randomNormal([24])])).toEqual(['matmul relu'])
    const turned = x.transpose(1, 2)
    expect(await joined((a, w) => [a.matmul(w).relu()], [turned, randomNormal([3, 5, 8])])).toEqual(['matmul relu'])
  })

  test('but nothing that has no such form', async () => {
    const layer = new nn.Linear(24, 72)
    const [x, residual] = [randomNormal([5, 24]), randomNormal([5, 72])]
    const others: Fn[] = [
      a => [layer.forward(a).tanh()],
      a => [layer.forward(a).mul(2)],
      (a, b) => [layer.forward(a).relu().add(b)],
      (a, b) => [layer.forward(a).sub(b)],
      (a, b) => [layer.forward(a).add(b.cast('float64'))],
      (a, b) => [layer.forward(a).add(b.slice([0, 0], [1, 72]))],
      a => [layer.forward(a).add(1)],
      a => {
        const y = layer.forward(a)
        return [y.add(y)]
      },
    ]
    for (const fn of others) expect(await noGrad(() => joined(fn, [x, residual]))).toEqual([])
    const integers = tensor(
      Int32Array.from({ length: 9 }, (_, i) => i - 4),
      { shape: [3, 3] },
    )
    expect(await joined(a => [a.matmul(a).add(a)], [integers])).toEqual([])
  })

  test('and NaN stays NaN', async () => {
    const layer = new nn.Linear(8, 16)
    const x = tensor([[Number.NaN, 1, 2, 3, 4, 5, 6, 7]])
    for (const [, activation] of activations) {
      const run = compile((a: Tensor) => activation(layer.forward(a)))
      expect((await flat(noGrad(() => run(x)))).every(Number.isNaN)).toBe(true)
    }
  })

  test.each(dtypes)('a convolution takes over batch norm, addition and ReLU, also in place: %s', async dtype => {
    for (const channels of [16, 5]) {
      const layer = new nn.Conv2d(8, channels, 3, { padding: 1 }).to(dtype) as nn.Conv2d
      const norm = new nn.BatchNorm2d(channels).to(dtype).eval() as nn.BatchNorm2d
      norm.runningMean!.assign(randomNormal([channels]).cast(dtype))
      const x = randomNormal([2, 5, 6, 8]).cast(dtype)
      const residual = randomNormal([2, 5, 6, channels]).cast(dtype)
      const fns: [string, Fn][] = [
        ['conv2d relu', a => [layer.forward(a).relu()]],
        ['conv2d add', (a, b) => [layer.forward(a).add(b)]],
        ['conv2d batchNorm', a => [norm.forward(layer.forward(a))]],
        ['conv2d batchNorm add relu', (a, b) => [norm.forward(layer.forward(a)).add(b.mul(2)).relu()]],
      ]
      for (const [name, fn] of fns) {
        const run = compile(fn)
        await noGrad(async () => {
          const [found, expected] = [await flat(run(x, residual)[0]!), await flat(fn(x, residual)[0]!)]
          const tolerance = { float64: 1e-12, float32: 1e-5 }[dtype as string] ?? 0.1
          for (const [i, value] of expected.entries()) expect(Math.abs(found[i]! - value)).toBeLessThan(tolerance)
          const { operations } = await run.explain(x, residual)
          expect(operations.filter(o => o.name === 'convInference').map(o => o.attributes)).toEqual([name])
        })
      }
    }
  })
})
