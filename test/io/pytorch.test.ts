import { join } from 'node:path'
import { Parameter, type Tensor, tensor } from 'anneal'
import { loadPytorch, loadSafetensors, readSafetensorsHeader, savePytorch, saveSafetensors } from 'anneal/io'
import { describe, expect, test } from 'vitest'
import { matchNames, pytorchName } from '../../src/io/pytorch'
import { Module as NnModule } from '../../src/nn/module'
import { errorOf, temporaryFolder } from './helpers'

class Module {}
class Conv2d extends Module {
  static readonly pytorch = { weight: [0, 3, 1, 2] }
}
class DepthwiseConv2d extends Conv2d {}
class Conv1d extends Module {
  static readonly pytorch = { weight: [0, 2, 1] }
}
class Conv3d extends Module {
  static readonly pytorch = { weight: [0, 4, 1, 2, 3] }
}

/** A model of these tensors and modules. */
class Model {
  constructor(
    public state: Record<string, Tensor>,
    readonly modules: Record<string, object> = {},
  ) {}
  stateDict() {
    return { ...this.state }
  }
  loadStateDict(state: Record<string, Tensor>) {
    this.state = state
  }
  namedModules() {
    return Object.entries(this.modules)
  }
}

const counting = (...shape: number[]) => {
  const size = shape.reduce((a, b) => a * b, 1)
  return tensor(
    Float32Array.from({ length: size }, (_, i) => i),
    { shape },
  )
}

/** The element of row-major values at these indices. */
const at = (t: { shape: readonly number[] }, values: ArrayLike<number | bigint>, ...index: number[]) =>
  values[index.reduce((offset, i, axis) => offset * t.shape[axis]! + i, 0)]

const fresh = async () => join(await temporaryFolder(), 'model.safetensors')

/** An nn.Module with a layout of its own, within another. */
class Scale extends NnModule {
  static readonly pytorch = { weightScale: [1, 0] }
  weightScale = new Parameter(counting(2, 3))
  forward(x: Tensor) {
    return x.mul(this.weightScale)
  }
}
class Net extends NnModule {
  layers = [new Scale(), new Scale()]
  forward(x: Tensor): Tensor {
    return this.layers.reduce((y, layer) => layer.forward(y), x)
  }
}

/** An output layer tied to an embedding, and a layer that stands at two places. */
class Tied extends NnModule {
  embed = new Scale()
  layers = [this.embed, new Scale()]
  out = new Scale()
  constructor() {
    super()
    this.out.weightScale = this.layers[1]!.weightScale
  }
  forward(x: Tensor): Tensor {
    return this.out.forward(x)
  }
}

describe('PyTorch state dicts', () => {
  test('tied tensors are saved under each of their names, and loaded under any', async () => {
    const path = await fresh()
    const net = new Tied()
    await savePytorch(path, net)
    const file = await loadSafetensors(path)
    const names = ['embed.weight_scale', 'layers.0.weight_scale', 'layers.1.weight_scale', 'out.weight_scale']
    expect(Object.keys(file).sort()).toEqual(names)
    const nines = file['out.weight_scale']!.mul(0).add(9)
    await loadPytorch(path, net)
    const embed = file['embed.weight_scale']!
    await saveSafetensors(path, { 'layers.0.weight_scale': embed, 'out.weight_scale': nines })
    await loadPytorch(path, net)
    expect(await net.layers[1]!.weightScale.toArray()).toEqual([
      [9, 9, 9],
      [9, 9, 9],
    ])
    await saveSafetensors(path, { ...file, 'out.weight_scale': nines.mul(2) })
    await loadPytorch(path, net)
    expect(await net.layers[1]!.weightScale.max().item()).toBe(18)
    await saveSafetensors(path, { 'out.weight_scale': nines.index(0), 'out.bias': nines })
    const { message } = await errorOf('ERR_FORMAT', () => loadPytorch(path, net))
    expect(message).toMatch(
      /embed.weight_scale is missing; out.bias is unknown to the model; out.weight_scale has shape \[2\], which does not fit/,
    )
  })

  test('an nn.Module is saved, loaded and then computes with what was loaded', async () => {
    const path = await fresh()
    const net = new Net()
    await savePytorch(path, net)
    const file = await loadSafetensors(path)
    expect(Object.keys(file).sort()).toEqual(['layers.0.weight_scale', 'layers.1.weight_scale'])
    expect(await file['layers.0.weight_scale']!.toArray()).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
    ])
    await saveSafetensors(path, {
      ...file,
      'layers.1.weight_scale': tensor([
        [1, 1],
        [1, 1],
        [1, 2],
      ]),
    })
    await loadPytorch(path, net)
    expect(
      await net
        .forward(
          tensor([
            [1, 1, 1],
            [1, 1, 1],
          ]),
        )
        .toArray(),
    ).toEqual([
      [0, 1, 2],
      [3, 4, 10],
    ])
    net
      .forward(
        tensor([
          [1, 1, 1],
          [1, 1, 1],
        ]),
      )
      .sum()
      .backward()
    expect(await net.layers[0]!.weightScale.grad!.toArray()).toEqual([
      [1, 1, 1],
      [1, 1, 2],
    ])
  })

  test('convolution weights are [out, in, height, width] in the file, bit for bit', async () => {
    const path = await fresh()
    const weight = counting(2, 3, 5, 4) // out, height, width, in
    await savePytorch(
      path,
      new Model({ 'conv.weight': weight, weight }, { '': new DepthwiseConv2d(), conv: new Conv2d() }),
    )
    expect((await readSafetensorsHeader(path)).metadata).toEqual({ format: 'pt' })
    const file = await loadSafetensors(path)
    for (const name of ['conv.weight', 'weight']) {
      const saved = file[name]!
      expect(saved.shape).toEqual([2, 4, 3, 5])
      const [ours, theirs] = [await weight.data(), await saved.data()]
      for (const [o, h, w, i] of [
        [0, 0, 0, 0],
        [1, 2, 4, 3],
        [1, 0, 3, 2],
        [0, 1, 0, 1],
      ] as const) {
        expect(at(saved, theirs, o, i, h, w)).toBe(at(weight, ours, o, h, w, i))
      }
    }
  })

  test('every layout survives the way there and back, bit for bit', async () => {
    const path = await fresh()
    const modules = { a: new Conv1d(), b: new Conv2d(), c: new Conv3d(), 'block.0': new Module() }
    const state = {
      'a.weight': counting(3, 2, 4),
      'b.weight': tensor([[[[NaN, -0]], [[1e-45, Infinity]]]]),
      'b.bias': counting(1),
      'c.weight': counting(2, 3, 4, 5, 6),
      'block.0.runningMean': counting(4),
      'block.0.numBatchesTracked': tensor(new BigInt64Array([9n]), { shape: [] }),
      'lstm.weightIh_l0': counting(8, 2),
      'lstm.weightHh_l0_reverse': counting(8, 2),
      fc: counting(2, 24),
    }
    const options = { flattened: { fc: [2, 3, 4] } } as const
    await savePytorch(path, new Model(state, modules), options)
    expect(Object.keys(await loadSafetensors(path)).sort()).toEqual([
      'a.weight',
      'b.bias',
      'b.weight',
      'block.0.num_batches_tracked',
      'block.0.running_mean',
      'c.weight',
      'fc',
      'lstm.weight_hh_l0_reverse',
      'lstm.weight_ih_l0',
    ])
    const zeros = Object.fromEntries(Object.entries(state).map(([name, t]) => [name, t.sub(t)]))
    const model = new Model(zeros, modules)
    await loadPytorch(path, model, options)
    for (const [name, t] of Object.entries(state)) {
      expect(model.state[name]!.shape).toEqual(t.shape)
      expect(Buffer.from(await model.state[name]!.bytes()).equals(Buffer.from(await t.bytes())), name).toBe(true)
    }
  })

  test('a linear weight after a flattened image has its columns reordered', async () => {
    const path = await fresh()
    const [height, width, channels] = [2, 3, 4]
    const weight = counting(1, height * width * channels)
    await savePytorch(path, new Model({ weight }), { flattened: { weight: [height, width, channels] } })
    const values = await (await loadSafetensors(path)).weight!.data()
    for (const [h, w, c] of [
      [0, 0, 0],
      [1, 2, 3],
      [0, 1, 2],
    ] as const) {
      expect(values[(c * height + h) * width + w]).toBe((h * width + w) * channels + c)
    }
  })

  test('values are cast to the dtype of the model', async () => {
    const path = await fresh()
    await saveSafetensors(path, { weight: tensor([1.5, 65504], { dtype: 'float16' }) })
    const model = new Model({ weight: counting(2) })
    await loadPytorch(path, model)
    expect([model.state.weight!.dtype, await model.state.weight!.toArray()]).toEqual(['float32', [1.5, 65504]])
  })

  test('all that does not fit is named, and the model stays as it was', async () => {
    const path = await fresh()
    await saveSafetensors(path, {
      'a.weight': counting(2, 2),
      extra: counting(1),
      'bn.num_batches_tracked': counting(1),
    })
    const state = { 'a.weight': counting(2, 3, 3, 4), 'bn.runningVar': counting(3) }
    const model = new Model(state, { a: new Conv2d() })
    const { message } = await errorOf('ERR_FORMAT', () => loadPytorch(path, model))
    expect(message).toMatch(/a\.weight has shape \[2,2\], which does not fit a\.weight \[2,3,3,4\]/)
    expect(message).toMatch(/bn\.running_var is missing/)
    expect(message).toMatch(/extra is unknown/)
    expect(message).not.toMatch(/num_batches_tracked/)
    expect(model.state).toBe(state)
    const wrong = new Model({ 'a.weight': counting(2, 4) })
    await errorOf('ERR_FORMAT', () => loadPytorch(path, wrong, { flattened: { 'a.weight': [1, 1, 4] } }))
  })

  test('names that become one are refused', async () => {
    const model = new Model({ runningMean: counting(1), running_mean: counting(1) })
    expect((await errorOf('ERR_VALUE', async () => savePytorch(await fresh(), model))).message).toMatch(/running_mean/)
  })

  test('names are matched in snake case, else as they are', () => {
    expect(pytorchName('encoder.layers.0.selfAttn.inProjWeight')).toBe('encoder.layers.0.self_attn.in_proj_weight')
    expect(pytorchName('weightIh_l0')).toBe('weight_ih_l0')
    expect([...matchNames(['fcOut', 'aB'], ['fcOut', 'a_b']).matched]).toEqual([
      ['fcOut', 'fcOut'],
      ['aB', 'a_b'],
    ])
  })
})
