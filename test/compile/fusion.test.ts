// What follows products, norms and their gradients is computed with them, and gives what it gives by itself.
import {
  compile,
  type DType,
  getThreads,
  manualSeed,
  nn,
  noGrad,
  optim,
  Parameter,
  randomNormal,
  setThreads,
  type Tensor,
  tensor,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'
import { expectJoined } from '../support/joined'

const flat = async (t: Tensor) => Array.from(await t.data(), Number)

/** The largest difference, relative to the largest value where that is above 1. */
function distance(found: number[], expected: number[]) {
  expect(found).toHaveLength(expected.length)
  let [most, scale] = [0, 1]
  for (const [i, value] of expected.entries()) {
    most = Math.max(most, Math.abs(found[i]! - value))
    scale = Math.max(scale, Math.abs(value))
  }
  return most / scale
}

interface Options {
  /** The largest distance. Default: 1e-6. */
  tolerance?: number
}

/** The fused operations of the captured function, after checking that it computes what the function does, twice. */
async function fused(fn: (...inputs: Tensor[]) => Tensor[], inputs: Tensor[], options: Options = {}) {
  const expected = await Promise.all(fn(...inputs).map(flat))
  const run = compile(fn)
  for (let i = 0; i < 2; i++) {
    const results = await Promise.all(run(...inputs).map(flat))
    for (const [k, values] of expected.entries())
      expect(distance(results[k]!, values)).toBeLessThanOrEqual(options.tolerance ?? 1e-6)
  }
  const { operations } = await run.explain(...inputs)
  return operations.filter(({ name }) => name.startsWith('fused')).map(({ attributes }) => attributes)
}

/** The function with the gradients of these parameters after its results. */
const withGradients = (fn: (x: Tensor) => Tensor, parameters: readonly Parameter[]) => (x: Tensor) => {
  const y = fn(x)
  y.square().sum().backward()
  const gradients = parameters.map(({ grad }) => grad!)
  for (const parameter of parameters) parameter.grad = undefined
  return [y, ...gradients]
}

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

describe('a norm computes its input', () => {
  const norms: [string, (size: number) => nn.Module & { forward(x: Tensor): Tensor }][] = [
    ['layerNorm', size => new nn.LayerNorm(size)],
    ['rmsNorm', size => new nn.RMSNorm(size)],
  ]
  for (const [name, make] of norms) {
    test.each([[3], [2, 50], [700], [0]])(`${name} with %s rows`, async (...shape) => {
      manualSeed(9)
      const norm = make(72)
      const [x, y] = [randomNormal([...shape, 72]), randomNormal([...shape, 72])]
      const found = await noGrad(() => fused((a, b) => [norm.forward(a.add(b))], [x, y]))
      expectJoined(found, shape[0] === 0 ? [] : [`add ${name}`])
    })

    test(`${name}, where the sum is needed later, and gradients`, async () => {
      manualSeed(10)
      const [norm, layer] = [make(72), new nn.Linear(72, 72)]
      const fn = (a: Tensor) => {
        const sum = layer.forward(a).add(a)
        return layer.forward(norm.forward(sum)).add(sum)
      }
      const x = randomNormal([30, 72])
      expectJoined(await noGrad(() => fused(a => [fn(a)], [x])), [`add ${name}`, 'linear add'])
      const parameters = [...norm.parameters(), ...layer.parameters()]
      const found = await fused(withGradients(fn, parameters), [x], { tolerance: 1e-5 })
      const norms = found.filter(operations => operations === `add ${name}` || operations.startsWith('normalizeRows'))
      expectJoined(norms, [`add ${name}`, 'normalizeRowsGradient add'])
    })
  }

  test('of several axes, of float64 and of what broadcasts', async () => {
    manualSeed(11)
    const norm = new nn.LayerNorm([6, 12]).to('float64') as nn.LayerNorm
    const x = randomNormal([5, 6, 12]).cast('float64')
    const found = await noGrad(() =>
      fused((a, b) => [norm.forward(a.mul(b).add(1))], [x, randomNormal([6, 1]).cast('float64')], { tolerance: 1e-13 }),
    )
    expectJoined(found, ['mul add layerNorm'])
  })

  test('without weight, and not with a weight that comes later', async () => {
    manualSeed(12)
    const x = randomNormal([5, 12])
    expectJoined(await fused(a => [a.mul(2).layerNorm()], [x]), ['mul layerNorm'])
    const found = await fused(
      a => {
        const scaled = a.mul(2)
        return [scaled.layerNorm(a.sum({ axis: 0 }))]
      },
      [x],
    )
    expectJoined(found, [])
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

test('a transformer layer trains as it does by itself', async () => {
  const make = () => {
    manualSeed(13)
    const encoder = new nn.TransformerEncoderLayer(32, 4, { feedForward: 64, activation: 'gelu', dropout: 0 })
    return { encoder, optimizer: new optim.AdamW(encoder.parameters(), { lr: 1e-3 }) }
  }
  const stepOf =
    ({ encoder, optimizer }: ReturnType<typeof make>) =>
    (x: Tensor) => {
      const loss = encoder.forward(x).sub(x).square().mean()
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    }
  const [plain, captured] = [stepOf(make()), compile(stepOf(make()))]
  manualSeed(14)
  const x = randomNormal([4, 10, 32])
  for (let i = 0; i < 5; i++) expect(Math.abs((await captured(x).item()) - (await plain(x).item()))).toBeLessThan(1e-5)
})

describe('reductions take in elementwise results, bit for bit', () => {
  const exact = { tolerance: 0 }
  const reductions: [string, (x: Tensor, options?: { axis?: number | number[] }) => Tensor][] = [
    ['sum', (x, options) => x.sum(options)],
    ['mean', (x, options) => x.mean(options)],
    ['max', (x, options) => x.max(options)],
    ['min', (x, options) => x.min(options)],
  ]

  test.each([[5], [3, 4, 50], [7, 33], [2, 600, 1000], [300001], [40, 3001], [5, 70001], [1, 40], [40, 1]])(
    'over rows and over all axes: %s',
    async (...shape) => {
      manualSeed(16)
      const [x, y] = [randomNormal(shape), randomNormal(shape)]
      for (const [name, reduce] of reductions) {
        expectJoined(await fused((a, b) => [reduce(a.mul(b))], [x, y], exact), [`mul ${name}`])
        const rows = await fused((a, b) => [reduce(a.sub(b).square(), { axis: -1 })], [x, y], exact)
        expectJoined(rows, [shape.at(-1) === 1 ? 'sub square' : `sub square ${name}`])
      }
    },
  )

  test('over several axes, of float64, and of what is read elsewhere too', async () => {
    manualSeed(17)
    const x = randomNormal([30, 5, 10]).cast('float64')
    const found = await fused(
      a => {
        const y = a.exp()
        return [y.sum({ axis: [1, 2], keepDims: true }), y.softmax(), y.reshape([1500]).cumsum(0)]
      },
      [x],
      exact,
    )
    expectJoined(found, ['exp sum'])
  })

  test('of another shape', async () => {
    manualSeed(18)
    const found = await fused(a => [a.exp().reshape([6, 40]).mean({ axis: 1 })], [randomNormal([3, 80])], exact)
    expectJoined(found, ['exp mean'])
  })

  test('but not over other axes, short rows and rows that are added up in another order, and one of them only', async () => {
    manualSeed(19)
    const x = randomNormal([3, 4, 40])
    expectJoined(await fused(a => [a.exp().sum({ axis: 1 }), a.tanh().sum({ axis: 0 })], [x], exact), [])
    expectJoined(await fused(a => [a.exp().sum({ axis: 1 })], [randomNormal([9, 31])], exact), [])
    expectJoined(await fused(a => [a.exp().sum({ axis: 1 })], [randomNormal([9, 1500])], exact), [])
    const both = (a: Tensor) => {
      const y = a.exp()
      return [y.sum(), y.max()]
    }
    expectJoined(await fused(both, [x], exact), ['exp sum'])
  })

  test('with NaN, infinities and large values', async () => {
    const x = tensor([
      [1, Number.NaN, 3],
      [Number.POSITIVE_INFINITY, -1, 2],
      [3e38, 3e38, 1],
    ])
    const run = compile((a: Tensor) => [a.mul(1.5).max(), a.index(1).mul(1.5).sum(), a.index(2).mul(1.5).max()])
    const found = await Promise.all(run(x).map(flat))
    expect(found).toEqual([[Number.NaN], [Number.POSITIVE_INFINITY], [Number.POSITIVE_INFINITY]])
  })

  test('whatever the number of threads', async () => {
    manualSeed(20)
    const x = randomNormal([3, 70001])
    const run = compile((a: Tensor) => [a.tanh().sum(), a.exp().mean({ axis: 1 })])
    const before = getThreads()
    try {
      const results = []
      for (const count of [1, 2, 3]) {
        setThreads(count)
        results.push(await Promise.all(run(x).map(flat)))
      }
      expect(results[1]).toEqual(results[0])
      expect(results[2]).toEqual(results[0])
    } finally {
      setThreads(before)
    }
  })
})
