import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { full, manualSeed, randomState, type Tensor, tensor } from 'anneal'
import { LabelEncoder, OneHotEncoder, StandardScaler } from 'anneal/data'
import { saveCheckpoint } from 'anneal/io'
import * as nn from 'anneal/nn'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { thrown } from '../support/thrown'

let folder: string
let number = 0
const fresh = () => join(folder, `model-${number++}`)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anneal-save-'))
})
afterAll(() => rm(folder, { recursive: true }))

class Doubling extends nn.Module {
  constructor(readonly layer: nn.Module) {
    super()
  }
  forward(x: Tensor): Tensor {
    return this.layer.forward(x).mul(2)
  }
  config() {
    return [this.layer]
  }
}

class Tied extends nn.Module {
  readonly first = new nn.Linear(2, 2)
  readonly second = new nn.Linear(2, 2)
  constructor() {
    super()
    Object.assign(this.second, { weight: this.first.weight })
  }
  forward(x: Tensor): Tensor {
    return this.second.forward(this.first.forward(x))
  }
  config() {
    return []
  }
}

describe('configurations', () => {
  test('are plain, and readable', () => {
    const model = new nn.Sequential(new nn.Linear(30, 8), new nn.ReLU(), new nn.Linear(8, 1, { bias: false }))
    expect(nn.toConfig(model)).toEqual({
      kind: 'Sequential',
      args: [
        { kind: 'Linear', args: [30, 8] },
        { kind: 'ReLU', args: [] },
        { kind: 'Linear', args: [8, 1, { bias: false }] },
      ],
    })
  })

  const layers: [nn.Module, number[]][] = [
    [new nn.Linear(3, 2, { bias: false }), [4, 3]],
    [new nn.Conv2d(2, 4, [3, 1], { padding: 'same', groups: 2 }), [1, 5, 5, 2]],
    [new nn.Conv1d(2, 4, 3, { padding: 'valid', stride: 2 }), [1, 5, 2]],
    [new nn.ConvTranspose2d(2, 4, 2, { stride: 2 }), [1, 3, 3, 2]],
    [new nn.MaxPool2d(2, { stride: 1 }), [1, 4, 4, 1]],
    [new nn.AvgPool1d(2), [1, 4, 1]],
    [new nn.AdaptiveAvgPool2d([1, 2]), [1, 4, 4, 1]],
    [new nn.GlobalAvgPool({ keepDims: true }), [1, 4, 4, 1]],
    [new nn.BatchNorm1d(3, { momentum: null, eps: 0.1 }), [4, 3]],
    [new nn.InstanceNorm2d(3, { affine: true }), [1, 2, 2, 3]],
    [new nn.LayerNorm([2, 3]), [1, 2, 3]],
    [new nn.RMSNorm(3), [1, 3]],
    [new nn.GroupNorm(2, 4), [1, 3, 4]],
    [new nn.Dropout(0.3), [2, 2]],
    [new nn.PReLU(2, { initial: 0.1 }), [3, 2]],
    [new nn.LeakyReLU({ slope: 0.3 }), [3, 2]],
    [new nn.Hardtanh({ min: -0.1, max: 0.1 }), [3, 2]],
    [new nn.Reshape([3, -1]), [2, 6]],
    [new nn.ZeroPad2d([1, 2, 0, 1]), [1, 2, 2, 1]],
    [new nn.ConstantPad2d(1, 7), [1, 2, 2, 1]],
    [new nn.Upsample({ scale: 2, mode: 'bilinear' }), [1, 2, 2, 1]],
    [new nn.MultiHeadAttention(4, 2, { kvHeads: 1 }), [1, 3, 4]],
    [new nn.TransformerEncoder(4, 2, 2, { feedForward: 6, normFirst: true }), [1, 3, 4]],
    [new nn.PositionalEncoding(4, { length: 5 }), [1, 3, 4]],
    [new nn.Sequential(new nn.Flatten(), new nn.Softmax()), [2, 3, 2]],
  ]
  test.each(layers.map(([layer, shape]) => [layer.constructor.name, layer, shape] as const))(
    '%s is rebuilt as it was',
    async (_, layer, shape) => {
      const again = nn.fromConfig(JSON.parse(JSON.stringify(nn.toConfig(layer))))
      expect(again).toBeInstanceOf(layer.constructor)
      expect(again.toString()).toBe(layer.toString())
      again.loadStateDict(layer.stateDict())
      const x = full(shape, 0.7)
      expect(await again.eval().forward(x).toArray()).toEqual(await layer.eval().forward(x).toArray())
    },
  )

  test('shared modules stay shared', () => {
    const shared = new nn.Linear(2, 2)
    const again = nn.fromConfig(nn.toConfig(new nn.Sequential(shared, new nn.ReLU(), shared))) as nn.Sequential
    expect(again.get(2)).toBe(again.get(0))
    expect(again.parameters()).toHaveLength(2)
  })

  test('a graph is rebuilt with its names and its sharing', async () => {
    const [a, b] = [nn.input([2]), nn.input([2])]
    const shared = new nn.Linear(2, 3)
    const both = nn.concat([nn.apply(shared, a), nn.apply(shared, b)])
    const graph = new nn.Graph({ inputs: { a, b }, outputs: { sum: nn.add(a, b), both } })
    const again = nn.fromConfig(JSON.parse(JSON.stringify(nn.toConfig(graph)))) as nn.Graph
    again.loadStateDict(graph.stateDict())
    const given = { a: tensor([[1, 2]]), b: tensor([[3, 4]]) }
    const [before, after] = [graph.forward(given), again.forward(given)]
    expect(Object.keys(after)).toEqual(['sum', 'both'])
    expect(await after.both.toArray()).toEqual(await before.both.toArray())
    expect(again.parameters()).toHaveLength(2)
  })

  test('regularizers come along', () => {
    const layer = new nn.Linear(2, 2, { regularizer: nn.regularizers.l2(0.5) })
    expect(nn.fromConfig(nn.toConfig(layer)).regularizer).toEqual({ l2: 0.5 })
  })

  test('classes of your own must be registered', () => {
    class Other extends nn.Module {
      forward(x: Tensor): Tensor {
        return x
      }
    }
    expect(() => nn.toConfig(new nn.Sequential(new Other()))).toThrow(
      /Sequential\[0\]: Other cannot be saved with its architecture; give it a method config\(\)/,
    )
    expect(() => nn.toConfig(new Doubling(new nn.ReLU()))).toThrow(/call nn\.register\(Doubling\)/)
    nn.register(Doubling)
    const again = nn.fromConfig(nn.toConfig(new Doubling(new nn.Linear(2, 1)))) as Doubling
    expect(again.layer).toBeInstanceOf(nn.Linear)
    expect(() => nn.register(class Linear extends nn.Identity {})).toThrow(/another class is registered as Linear/)
  })

  test.each<[string, unknown, RegExp]>([
    ['no object', 'Linear', /expected an object with a kind; got 'Linear'/],
    ['an unknown kind', { kind: 'Missing', args: [] }, /unknown kind 'Missing'/],
    ['a name of JavaScript', { kind: '__proto__', args: [] }, /unknown kind '__proto__'/],
    ['a constructor of JavaScript', { kind: 'Function', args: ['return 1'] }, /unknown kind 'Function'/],
    ['no arguments', { kind: 'ReLU' }, /ReLU: expected args to be a list/],
    ['wrong arguments', { kind: 'Linear', args: ['a', {}] }, /Linear: expected inputs to be a positive integer/],
    ['a module that is not there', { kind: 'Sequential', args: [{ shared: 5 }] }, /no module 5 before it/],
    ['a module inside of itself', { kind: 'Sequential', args: [{ shared: 0 }] }, /no module 0 before it/],
    ['a broken graph', { kind: 'Graph', args: [{ inputs: 3 }] }, /Graph: expected inputs and outputs/],
    ['a graph of nothing', { kind: 'Graph', args: [] }, /Graph: expected/],
    ['a broken regularizer', { kind: 'ReLU', args: [], regularizer: { l3: 1 } }, /a regularizer with l1 and l2/],
    [
      'endless layers',
      { kind: 'LSTM', args: [1, 1, { layers: 1e9 }] },
      /LSTM: expected layers to be a number from 1 to 1/,
    ],
    [
      'an endless encoder',
      { kind: 'TransformerEncoder', args: [2, 1, 1e9] },
      /expected count to be a number from 1 to/,
    ],
    [
      'an endless table',
      { kind: 'PositionalEncoding', args: [1e6, { length: 1e9 }] },
      /length times size to be a number/,
    ],
    ['deep nesting', nested(2000), /more than 500 levels/],
    [
      'null for options',
      { kind: 'Linear', args: [1, 1, null] },
      /fromConfig: Linear: the arguments do not fit: .*null/,
    ],
  ])('%s is refused', (_, config, message) => {
    const error = thrown(() => nn.fromConfig(config as never))
    expect(error.message).toMatch(message)
  })
})

function nested(depth: number): unknown {
  let config: unknown = { kind: 'ReLU', args: [] }
  for (let i = 0; i < depth; i++) config = { kind: 'Sequential', args: [config] }
  return config
}

describe('saved models', () => {
  test('come back with weights, statistics, preprocessing and labels', async () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.BatchNorm1d(3), new nn.ReLU(), new nn.Linear(3, 2))
    const x = tensor([
      [1, 2],
      [3, 5],
      [-1, 0],
    ])
    model.forward(x)
    ;(model.get(0) as nn.Linear).bias!.trainable = false
    const scaler = new StandardScaler().fit([
      [1, 2],
      [3, 4],
    ])
    const path = fresh()
    await nn.saveModel(path, model, { preprocessing: { scaler }, labels: ['no', 'yes'], config: { threshold: 0.4 } })
    const loaded = await nn.loadModel(path)
    expect(loaded.model.training).toBe(false)
    expect(await loaded.model.forward(x).toArray()).toEqual(await model.eval().forward(x).toArray())
    expect(Array.from(loaded.model.namedParameters(), ([name, p]) => [name, p.trainable])).toContainEqual([
      '0.bias',
      false,
    ])
    expect(loaded.model.parameters().filter(p => p.trainable)).toHaveLength(5)
    expect((loaded.preprocessing.scaler as StandardScaler).transform([[2, 3]]).data).toEqual(
      scaler.transform([[2, 3]]).data,
    )
    expect([loaded.labels, loaded.config]).toEqual([['no', 'yes'], { threshold: 0.4 }])
  })

  test('keep their dtype, and can train on', async () => {
    const path = fresh()
    await nn.saveModel(path, new nn.Linear(2, 1).to('float64'))
    const { model, preprocessing, labels } = await nn.loadModel(path)
    expect((model as nn.Linear).weight.dtype).toBe('float64')
    expect([preprocessing, labels]).toEqual([{}, undefined])
    model
      .forward(full([1, 2], 1, { dtype: 'float64' }))
      .sum()
      .backward()
    expect((model as nn.Linear).weight.grad!.shape).toEqual([1, 2])
  })

  test('several preprocessing steps by name', async () => {
    const path = fresh()
    const labels = new LabelEncoder().fit(['b', 'a'])
    await nn.saveModel(path, new nn.ReLU(), { preprocessing: { x: new StandardScaler().fit([[1], [2]]), y: labels } })
    const { preprocessing: steps } = await nn.loadModel(path, { preprocessing: { x: StandardScaler, y: LabelEncoder } })
    expect(Array.from(steps.y.transform(['b']))).toEqual(Array.from(labels.transform(['b'])))
    expect(Array.from(steps.x.transform([[2]]).data)).toEqual([1])
    for (const [expected, message] of [
      [
        { x: LabelEncoder },
        'expected step x to be a LabelEncoder; the saved steps are x (StandardScaler), y (LabelEncoder)',
      ],
      [
        { z: LabelEncoder },
        'expected step z to be a LabelEncoder; the saved steps are x (StandardScaler), y (LabelEncoder)',
      ],
    ] as const) {
      await expect(nn.loadModel(path, { preprocessing: expected as { x: typeof LabelEncoder } })).rejects.toMatchObject(
        {
          code: 'ERR_FORMAT',
          message: expect.stringContaining(message),
        },
      )
    }
  })

  test('what JSON does not have comes back too', async () => {
    class Given extends nn.Module {
      constructor(
        readonly first: number,
        readonly second = 7,
        readonly third: object = {},
      ) {
        super()
      }
      forward(x: Tensor): Tensor {
        return x
      }
      config() {
        return [this.first, undefined, this.third as { a?: number }]
      }
    }
    nn.register(Given)
    const labels = new LabelEncoder().fit([Infinity, 1, -Infinity])
    const columns = new OneHotEncoder().fit([[Infinity], [2]])
    const path = fresh()
    await nn.saveModel(path, new Given(Infinity, 7, { a: undefined }), { preprocessing: { labels, columns } })
    const { model, preprocessing } = await nn.loadModel(path)
    expect(model).toMatchObject({ first: Infinity, second: 7, third: {} })
    expect((preprocessing.labels as LabelEncoder).classes).toEqual([-Infinity, 1, Infinity])
    expect((preprocessing.columns as OneHotEncoder).categories).toEqual([[2, Infinity]])
  })

  test('saving draws no random numbers', async () => {
    manualSeed(5)
    const model = new nn.Linear(2, 2)
    const before = randomState()
    await nn.saveModel(fresh(), model)
    expect(randomState()).toEqual(before)
  })

  test('parameters tied in a constructor stay tied; others are refused', async () => {
    nn.register(Tied)
    const path = fresh()
    await nn.saveModel(path, new Tied())
    const { model } = await nn.loadModel(path)
    expect((model as Tied).second.weight).toBe((model as Tied).first.weight)
    const loose = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 2))
    Object.assign(loose.get(1), { weight: (loose.get(0) as nn.Linear).weight })
    await expect(nn.saveModel(fresh(), loose)).rejects.toThrow(
      /changed after its layers were made.*1\.weight \[absent\] became \[2,2\]/,
    )
  })

  test('what is no model is refused', async () => {
    const path = fresh()
    await saveCheckpoint(path, { epoch: 1, step: 1, model: { weight: full([1], 1) }, config: { my: 'config' } })
    await expect(nn.loadModel(path)).rejects.toMatchObject({
      code: 'ERR_FORMAT',
      message: expect.stringMatching(/expected a model saved by saveModel/),
    })
    await expect(nn.loadModel('models/none')).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringMatching(
        /^load models\/none: this folder holds no checkpoint and no saved model; give the one/,
      ),
    })
    const layer = nn.toConfig(new nn.Linear(1, 1))
    const broken: [Record<string, unknown>, unknown, RegExp][] = [
      [{ model: null }, {}, /expected an object with a kind/],
      [{ model: { kind: 'Linear', args: [1, 1, null] } }, {}, /Linear: the arguments do not fit/],
      [{ model: { kind: 'Linear', args: [1, 0] } }, {}, /expected outputs to be a positive integer/],
      [{ model: layer }, null, /expected preprocessing to be steps by name; got null/],
      [{ model: layer }, { x: null }, /expected a saved step, got null/],
      [{ model: layer, labels: 3 }, {}, /expected labels to be a list of texts; got 3/],
    ]
    for (const [config, preprocessing, message] of broken) {
      const all = { format: 'anneal-model', version: 1, ...config }
      const model = new nn.Linear(1, 1).stateDict()
      await saveCheckpoint(path, {
        epoch: 0,
        step: 0,
        model,
        config: all as never,
        preprocessing: preprocessing as never,
      })
      const refused = await nn.loadModel(path).catch(error => error)
      expect(refused).toMatchObject({
        name: 'AnnealError',
        code: 'ERR_FORMAT',
        message: expect.stringMatching(message),
      })
      expect(refused.message).toContain(`loadModel: ${path}: `)
    }
  })

  test('weights that do not fit are refused', async () => {
    const path = fresh()
    const config = { format: 'anneal-model', version: 1, model: nn.toConfig(new nn.Linear(2, 1)), frozen: [] }
    await saveCheckpoint(path, {
      epoch: 0,
      step: 0,
      model: { weight: full([1, 3], 1), bias: full([1], 1) },
      config: config as never,
    })
    await expect(nn.loadModel(path)).rejects.toMatchObject({
      code: 'ERR_FORMAT',
      message: expect.stringMatching(/weights do not fit.*expected shape \[1,2\]; got \[1,3\]/),
    })
  })
})
