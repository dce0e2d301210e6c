import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compile, manualSeed, noGrad, optim, randomNormal, relu, type Tensor, tensor } from 'anneal'
import * as nn from 'anneal/nn'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anneal-quantize-'))
})
afterAll(() => rm(folder, { recursive: true }))
beforeEach(() => manualSeed(5))

/** The root mean square of the difference of what a model gave and gives, in parts of that of what it gave. */
async function change(before: Tensor, after: Tensor): Promise<number> {
  const [a, b] = [await before.data(), await after.data()]
  let [off, size] = [0, 0]
  for (let i = 0; i < a.length; i++) {
    off += (Number(b[i]) - Number(a[i])) ** 2
    size += Number(a[i]) ** 2
  }
  return Math.sqrt(off / size)
}

const run = (model: nn.Module, ...x: Tensor[]): Tensor => noGrad(() => model.forward(...x))

async function expectCloseAndCaptured(model: nn.Module, ...x: Tensor[]): Promise<void> {
  const before = run(model.eval(), ...x)
  nn.quantize(model)
  const after = run(model, ...x)
  expect(await change(before, after)).toBeLessThan(0.03)
  const captured = compile((...given: Tensor[]) => model.forward(...given))
  const again = noGrad(() => captured(...x)) as Tensor
  expect(await change(after, again)).toBeLessThan(1e-6)
  captured.dispose()
}

describe('quantize', () => {
  test('puts int8 layers into the places of linear ones and convolutions', async () => {
    const model = new nn.Sequential(
      new nn.Conv2d(3, 8, 3, { padding: 1 }),
      new nn.BatchNorm2d(8),
      new nn.ReLU(),
      new nn.Conv2d(8, 8, 3, { groups: 8 }),
      new nn.Flatten(),
      new nn.Linear(8 * 16, 5, { bias: false }),
    )
    await expectCloseAndCaptured(model, randomNormal([2, 6, 6, 3]))
    const kinds = Array.from(model, layer => layer.constructor.name)
    expect(kinds).toEqual(['QuantizedConv2d', 'BatchNorm2d', 'ReLU', 'Conv2d', 'Flatten', 'QuantizedLinear'])
    expect(model.training).toBe(false)
    const state = model.stateDict()
    expect(state['0.weight']!.dtype).toBe('int8')
    expect(state['0.scale']!.shape).toEqual([8])
    expect(Object.keys(state)).not.toContain('5.bias')
    expect(model.summary([1, 6, 6, 3])).toContain('QuantizedLinear')
    const largest = (await state['0.weight']!.cast('float32')
      .abs()
      .max({ axis: [1, 2, 3] })
      .data()) as Float32Array
    expect(Array.from(largest)).toEqual(Array(8).fill(127))
  })

  test('a lone layer becomes its counterpart', () => {
    expect(nn.quantize(new nn.Linear(3, 2))).toBeInstanceOf(nn.QuantizedLinear)
    expect(nn.quantize(new nn.Conv1d(3, 2, 3))).toBeInstanceOf(nn.QuantizedConv1d)
    expect(nn.quantize(new nn.Conv3d(3, 2, 3, { stride: 2 })).kernel).toEqual([3, 3, 3])
  })

  test('convolutions of 1 to 3 axes with all their options', async () => {
    const options = { stride: 2, padding: 1, dilation: 2 }
    await expectCloseAndCaptured(new nn.Sequential(new nn.Conv1d(4, 6, 3, options)), randomNormal([2, 20, 4]))
    await expectCloseAndCaptured(new nn.Sequential(new nn.Conv2d(8, 16, 3, { groups: 2 })), randomNormal([2, 7, 7, 8]))
    await expectCloseAndCaptured(
      new nn.Sequential(new nn.Conv2d(5, 7, [2, 3], { padding: 'same' })),
      randomNormal([1, 7, 8, 5]),
    )
    await expectCloseAndCaptured(new nn.Sequential(new nn.Conv3d(3, 4, 2)), randomNormal([1, 4, 4, 4, 3]))
  })

  test('attention and transformers, with all their products', async () => {
    const options = { feedForward: 32, dropout: 0.1, activation: 'gelu' } as const
    const model = new nn.TransformerEncoder(16, 4, 2, options)
    await expectCloseAndCaptured(model, randomNormal([2, 9, 16]))
    const [first] = model.layers
    expect(first!.selfAttn.inProjWeight.dtype).toBe('int8')
    expect([first!.selfAttn.outProj, first!.linear1, first!.linear2].map(l => l.constructor)).toEqual(
      Array(3).fill(nn.QuantizedLinear),
    )
    const cross = new nn.MultiHeadAttention(16, 4, { kvHeads: 2 })
    await expectCloseAndCaptured(cross, randomNormal([2, 3, 16]), randomNormal([2, 5, 16]))
  })

  test('functional graphs, and layers that stand in several places', async () => {
    const shared = new nn.Linear(6, 6)
    const x = nn.input([6])
    const model = new nn.Graph({ inputs: x, outputs: nn.add(x.pipe(shared, new nn.ReLU(), shared), x) })
    await expectCloseAndCaptured(model, randomNormal([3, 6]))
    expect(model.layers.filter(l => l instanceof nn.QuantizedLinear)).toHaveLength(1)
  })

  test('skips names with what is below, classes, and what a function says', () => {
    const make = () =>
      new nn.Sequential(new nn.Linear(2, 2), new nn.Sequential(new nn.Linear(2, 2)), new nn.Linear(2, 2))
    const kept = (model: nn.Sequential) =>
      model.modules().flatMap((m, i) => (m.constructor === nn.Linear ? [[...model.namedModules()][i]![0]] : []))
    expect(kept(nn.quantize(make(), { skip: ['1', '2'] }))).toEqual(['1.0', '2'])
    expect(kept(nn.quantize(make(), { skip: [nn.Linear] }))).toEqual(['0', '1.0', '2'])
    expect(kept(nn.quantize(make(), { skip: name => name === '0' }))).toEqual(['0'])
    expect(() => nn.quantize(make(), { skip: ['head'] })).toThrow(/the model has no module 'head'/)
  })

  test('twice is as once', async () => {
    const model = new nn.TransformerEncoderLayer(8, 2, { feedForward: 8 })
    const before = run(nn.quantize(model), randomNormal([1, 3, 8]))
    manualSeed(5)
    expect(nn.quantize(model).stateDict()).toHaveProperty('selfAttn.inProjScale')
    expect(before.shape).toEqual([1, 3, 8])
  })

  test('rows of zeros stay zero; weights that are not finite are refused', async () => {
    const layer = new nn.Linear(3, 2)
    layer.weight.assign(
      tensor([
        [0, 0, 0],
        [1, -2, 3],
      ]),
    )
    layer.bias!.assign(tensor([7, 0]))
    expect((await run(nn.quantize(layer), tensor([[1, 1, 1]])).toArray()) as number[][]).toEqual([
      [7, expect.closeTo(2, 1)],
    ])
    const broken = new nn.Sequential(new nn.Linear(1, 2))
    const [first] = broken.parameters()
    first!.assign(tensor([[Number.NaN], [1]]))
    expect(() => nn.quantize(broken)).toThrow(/quantize: 0: the weight holds NaN or infinity/)
  })

  test('16-bit activations', async () => {
    const model = new nn.Sequential(new nn.Linear(16, 8), new nn.ReLU(), new nn.Linear(8, 4))
    const x = randomNormal([5, 16])
    const before = run(nn.quantize(model), x)
    const after = run(model.to('bfloat16'), x.cast('bfloat16'))
    expect(after.dtype).toBe('bfloat16')
    expect(await change(before, after.cast('float32'))).toBeLessThan(0.03)
  })

  test('training says that it cannot be', async () => {
    const model = nn.quantize(new nn.Sequential(new nn.Linear(4, 2)))
    expect(() => model.train().forward(randomNormal([1, 4]))).toThrow(
      /QuantizedLinear: int8 weights cannot be trained; train the model in float, then quantize\(\) it/,
    )
    const attention = nn.quantize(new nn.MultiHeadAttention(4, 2))
    expect(() => attention.train().forward(randomNormal([1, 2, 4]))).toThrow(/cannot be trained/)
    const mixed = nn.quantize(new nn.Sequential(new nn.Linear(4, 4), new nn.Linear(4, 2)), { skip: ['1'] })
    mixed.compile({ optimizer: new optim.SGD({ lr: 0.1 }), loss: 'mse' })
    await expect(mixed.fit(randomNormal([4, 4]), randomNormal([4, 2]), { progress: false })).rejects.toThrow(
      /cannot be trained/,
    )
  })
})

test('what follows a quantised layer is computed with it', async () => {
  class Block extends nn.Module {
    readonly conv = new nn.Conv2d(4, 4, 3, { padding: 1, bias: false })
    readonly norm = new nn.BatchNorm2d(4)
    readonly up = new nn.Linear(4, 8)
    readonly down = new nn.Linear(8, 4)
    forward(x: Tensor): Tensor {
      const y = relu(this.norm.forward(this.conv.forward(x)).add(x))
      return y.add(this.down.forward(this.up.forward(y).gelu()))
    }
  }
  const model = new Block()
  const x = randomNormal([2, 5, 5, 4])
  model.forward(x) // gives the norm statistics
  model.norm.weight!.assign(tensor([1, -0.5, 2, 0.1]))
  nn.quantize(model)
  const plain = run(model, x)
  const captured = compile((given: Tensor) => model.forward(given))
  expect(
    await change(
      plain,
      noGrad(() => captured(x)),
    ),
  ).toBeLessThan(1e-6)
  const { operations } = await noGrad(() => captured.explain(x))
  // The others run when weights have changed.
  const often = operations.map(o => o.name).filter(name => !/^(foldNorm|quantizedPlan)/.test(name))
  // GPUs compute these layers operation by operation.
  if (testDevice === 'cpu') expect(often).toEqual(Array(3).fill('quantizedInference'))
  // The plan of the weights follows them.
  const weight = model.up.weight as unknown as nn.QuantizedLinear['weight']
  weight.assign(tensor(new Int8Array(32).fill(127), { shape: [8, 4] }))
  expect(
    await change(
      run(model, x),
      noGrad(() => captured(x)),
    ),
  ).toBeLessThan(1e-6)
})

describe('quantised models are saved and loaded', () => {
  const models: [string, () => nn.Module, number[]][] = [
    ['a chain', () => new nn.Sequential(new nn.Conv2d(3, 4, 3, { stride: 2 }), new nn.ReLU()), [1, 5, 5, 3]],
    ['layers within layers', () => new nn.TransformerEncoder(8, 2, 2, { feedForward: 16 }), [1, 3, 8]],
    [
      'both',
      () => new nn.Sequential(new nn.TransformerEncoderLayer(8, 2, { feedForward: 16 }), new nn.Linear(8, 3)),
      [1, 3, 8],
    ],
  ]
  for (const [name, make, shape] of models) {
    test(name, async () => {
      const model = nn.quantize(make())
      const path = join(folder, name)
      await nn.saveModel(path, model)
      const { model: loaded } = await nn.loadModel(path)
      const x = randomNormal(shape)
      expect(await run(loaded, x).data()).toEqual(await run(model, x).data())
      expect([...loaded.namedCells()].map(([cell, { dtype }]) => [cell, dtype])).toEqual(
        [...model.namedCells()].map(([cell, { dtype }]) => [cell, dtype]),
      )
    })
  }

  test('into a model that was quantised when it was new', async () => {
    const [model, other] = [
      nn.quantize(new nn.Sequential(new nn.Linear(4, 3))),
      nn.quantize(new nn.Sequential(new nn.Linear(4, 3))),
    ]
    other.loadStateDict(model.stateDict())
    const x = randomNormal([2, 4])
    expect(await run(other, x).data()).toEqual(await run(model, x).data())
    expect(() => other.loadStateDict(new nn.Sequential(new nn.Linear(4, 3)).stateDict())).toThrow(/missing \[0.scale\]/)
  })
})

test('a trained network stays as good', async () => {
  const model = new nn.Sequential(
    new nn.Linear(2, 32),
    new nn.ReLU(),
    new nn.Linear(32, 32),
    new nn.ReLU(),
    new nn.Linear(32, 3),
  )
  const x = randomNormal([600, 2])
  const angle = (await x.toArray()) as number[][]
  const y = tensor(
    angle.map(([a, b]) => Math.floor(((Math.atan2(a!, b!) + Math.PI) / (2 * Math.PI)) * 2.999)),
    { dtype: 'int64' },
  )
  model.compile({ optimizer: new optim.Adam({ lr: 0.01 }), loss: 'crossEntropy', metrics: ['accuracy'] })
  await model.fit(x, y, { epochs: 15, batchSize: 50, progress: false })
  const before = await model.evaluate(x, y)
  nn.quantize(model)
  const after = await model.evaluate(x, y)
  expect(before.accuracy).toBeGreaterThan(0.9)
  expect(after.accuracy).toBeGreaterThan(before.accuracy! - 0.02)
})
