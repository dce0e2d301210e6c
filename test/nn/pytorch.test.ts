import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { concat, type Parameter, type Tensor, tensor } from 'anneal'
import { loadPytorch, type Permutation, type PytorchOptions, saveSafetensors } from 'anneal/io'
import * as nn from 'anneal/nn'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pytorchName } from '../../src/io/pytorch'
import { expectGradient, expectNear, expectTensor, type Tolerance } from '../support/compare'
import { cotangent, load, type Stored, valuesOf } from '../support/golden'

interface Step {
  inputs: Stored[]
  output: Stored
  inputGrads: (Stored | null)[]
  grads: Record<string, Stored>
}

interface GoldenLayer {
  name: string
  state: Record<string, Stored>
  train: boolean
  steps: Step[]
  after?: Record<string, Stored>
  evaluated?: Stored
}

interface Layer {
  make(): nn.Module
  /** Calls the module; by default with the inputs alone. */
  call?(module: nn.Module, inputs: Tensor[]): Tensor
  load?: PytorchOptions
}

const layer = (make: () => nn.Module, more: Omit<Layer, 'make'> = {}): Layer => ({ make, ...more })
const transformer = { feedForward: 12, dropout: 0 }

const deep = { layers: 2, bidirectional: true }

/** Outputs and states in one row. */
function flat([output, state]: [Tensor, Tensor | Tensor[]]): Tensor {
  return concat([output, state].flat().map(t => t.reshape([-1])))
}

const layers: Record<string, Layer> = {
  Linear: layer(() => new nn.Linear(5, 4)),
  'Linear without bias': layer(() => new nn.Linear(3, 2, { bias: false })),
  Bilinear: layer(() => new nn.Bilinear(3, 4, 2)),
  Conv1d: layer(() => new nn.Conv1d(4, 6, 3, { stride: 2, padding: 1, groups: 2 })),
  Conv2d: layer(() => new nn.Conv2d(3, 4, [3, 2], { stride: [1, 2], padding: [1, 0], dilation: [2, 1] })),
  'Conv2d same': layer(() => new nn.Conv2d(2, 3, 3, { padding: 'same', bias: false })),
  'Conv2d depthwise': layer(() => new nn.Conv2d(4, 4, 3, { padding: 1, groups: 4 })),
  Conv3d: layer(() => new nn.Conv3d(2, 3, 2)),
  ConvTranspose1d: layer(() => new nn.ConvTranspose1d(3, 2, 3, { stride: 2, padding: 1, outputPadding: 1 })),
  ConvTranspose2d: layer(() => new nn.ConvTranspose2d(4, 6, 3, { stride: 2, groups: 2 })),
  ConvTranspose3d: layer(() => new nn.ConvTranspose3d(2, 3, 2, { stride: 2 })),
  MaxPool1d: layer(() => new nn.MaxPool1d(3, { stride: 2, padding: 1 })),
  MaxPool2d: layer(() => new nn.MaxPool2d(2)),
  MaxPool3d: layer(() => new nn.MaxPool3d(2, { ceilMode: true })),
  AvgPool1d: layer(() => new nn.AvgPool1d(2)),
  AvgPool2d: layer(() => new nn.AvgPool2d(3, { stride: 2, padding: 1, countIncludePad: false })),
  AvgPool3d: layer(() => new nn.AvgPool3d(2)),
  AdaptiveAvgPool2d: layer(() => new nn.AdaptiveAvgPool2d([2, 3])),
  AdaptiveMaxPool2d: layer(() => new nn.AdaptiveMaxPool2d(2)),
  BatchNorm1d: layer(() => new nn.BatchNorm1d(4)),
  'BatchNorm1d of sequences': layer(() => new nn.BatchNorm1d(3, { momentum: null })),
  BatchNorm2d: layer(() => new nn.BatchNorm2d(3, { momentum: 0.3, eps: 1e-3 })),
  BatchNorm3d: layer(() => new nn.BatchNorm3d(2)),
  'BatchNorm2d evaluated': layer(() => new nn.BatchNorm2d(3)),
  'BatchNorm2d plain': layer(() => new nn.BatchNorm2d(3, { affine: false })),
  'BatchNorm2d untracked': layer(() => new nn.BatchNorm2d(3, { trackRunningStats: false })),
  LayerNorm: layer(() => new nn.LayerNorm(6)),
  'LayerNorm of two axes': layer(() => new nn.LayerNorm([3, 4], { eps: 1e-3, bias: false })),
  RMSNorm: layer(() => new nn.RMSNorm(6, { eps: 1e-6 })),
  GroupNorm: layer(() => new nn.GroupNorm(2, 6)),
  InstanceNorm1d: layer(() => new nn.InstanceNorm1d(3)),
  InstanceNorm2d: layer(() => new nn.InstanceNorm2d(3, { affine: true })),
  'InstanceNorm2d tracked': layer(() => new nn.InstanceNorm2d(3, { trackRunningStats: true })),
  Embedding: layer(() => new nn.Embedding(5, 3)),
  'Embedding padded': layer(() => new nn.Embedding(5, 3, { paddingIndex: 0 })),
  ReLU: layer(() => new nn.ReLU()),
  ReLU6: layer(() => new nn.ReLU6()),
  LeakyReLU: layer(() => new nn.LeakyReLU({ slope: 0.2 })),
  ELU: layer(() => new nn.ELU({ alpha: 0.7 })),
  CELU: layer(() => new nn.CELU({ alpha: 0.7 })),
  SELU: layer(() => new nn.SELU()),
  GELU: layer(() => new nn.GELU()),
  'GELU tanh': layer(() => new nn.GELU({ approximate: 'tanh' })),
  SiLU: layer(() => new nn.SiLU()),
  Mish: layer(() => new nn.Mish()),
  Hardswish: layer(() => new nn.Hardswish()),
  Hardsigmoid: layer(() => new nn.Hardsigmoid()),
  Hardtanh: layer(() => new nn.Hardtanh({ min: -2, max: 0.5 })),
  Softplus: layer(() => new nn.Softplus({ beta: 2, threshold: 5 })),
  Softsign: layer(() => new nn.Softsign()),
  Sigmoid: layer(() => new nn.Sigmoid()),
  LogSigmoid: layer(() => new nn.LogSigmoid()),
  Tanh: layer(() => new nn.Tanh()),
  Softmax: layer(() => new nn.Softmax()),
  LogSoftmax: layer(() => new nn.LogSoftmax({ axis: 0 })),
  GLU: layer(() => new nn.GLU()),
  PReLU: layer(() => new nn.PReLU()),
  'PReLU of channels': layer(() => new nn.PReLU(3)),
  MultiHeadAttention: layer(() => new nn.MultiHeadAttention(8, 2)),
  'MultiHeadAttention causal': layer(() => new nn.MultiHeadAttention(8, 2), {
    call: (m, [x]) => m.forward(x, { causal: true }),
  }),
  'MultiHeadAttention across': layer(() => new nn.MultiHeadAttention(8, 4, { bias: false })),
  'MultiHeadAttention padded': layer(() => new nn.MultiHeadAttention(8, 2), {
    call: (m, [x]) => m.forward(x, { keyMask: padding() }),
  }),
  TransformerEncoderLayer: layer(() => new nn.TransformerEncoderLayer(8, 2, transformer)),
  'TransformerEncoderLayer norm first': layer(
    () => new nn.TransformerEncoderLayer(8, 2, { ...transformer, activation: 'gelu', normFirst: true }),
  ),
  TransformerEncoder: layer(() => new nn.TransformerEncoder(8, 2, 2, { ...transformer, norm: true })),
  'Upsample nearest': layer(() => new nn.Upsample({ scale: 2 })),
  'Upsample bilinear': layer(() => new nn.Upsample({ size: [5, 7], mode: 'bilinear' })),
  ZeroPad2d: layer(() => new nn.ZeroPad2d([3, 0, 1, 2])),
  ReflectionPad2d: layer(() => new nn.ReflectionPad2d(1)),
  ReplicationPad2d: layer(() => new nn.ReplicationPad2d(2)),
  LSTM: layer(() => new nn.LSTM(4, 3, deep), { call: (m, [x, h, c]) => flat(m.forward(x, [h, c])) }),
  GRU: layer(() => new nn.GRU(4, 3, deep), { call: (m, inputs) => flat(m.forward(...inputs)) }),
  RNN: layer(() => new nn.RNN(4, 3, deep), { call: (m, inputs) => flat(m.forward(...inputs)) }),
  'RNN relu': layer(() => new nn.RNN(4, 3, { layers: 3, nonlinearity: 'relu', bias: false }), {
    call: (m, inputs) => flat(m.forward(...inputs)),
  }),
  'LSTM from zeros': layer(() => new nn.LSTM(4, 3), { call: (m, inputs) => flat(m.forward(...inputs)) }),
  LSTMCell: layer(() => new nn.LSTMCell(4, 3), { call: (m, [x, h, c]) => concat(m.forward(x, [h, c])) }),
  GRUCell: layer(() => new nn.GRUCell(4, 3)),
  RNNCell: layer(() => new nn.RNNCell(4, 3, { nonlinearity: 'relu' })),
  Sequential: layer(
    () =>
      new nn.Sequential(
        new nn.Conv2d(1, 4, 3),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Flatten(),
        new nn.Linear(16, 3),
      ),
    { load: { flattened: { '4.weight': [2, 2, 4] } } },
  ),
}

function padding(): Tensor {
  return tensor([
    [true, true, true, false],
    [true, true, false, false],
  ])
}

const golden: GoldenLayer[] = JSON.parse(await readFile(join(__dirname, 'golden/layers.json'), 'utf8'))
const close: Tolerance = { rtol: 2e-5, atol: 2e-6 }
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anneal-nn-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function loadState(module: nn.Module, state: Record<string, Stored>, options?: PytorchOptions): Promise<void> {
  if (Object.keys(state).length === 0) return
  const path = join(folder, 'state.safetensors')
  await saveSafetensors(path, Object.fromEntries(Object.entries(state).map(([name, t]) => [name, load(t)])))
  await loadPytorch(path, module, options)
}

/** Parameters' gradients, or buffers, by PyTorch's names and in its layout. */
function inPytorch(module: nn.Module, value: (cell: Parameter) => Tensor | undefined): Map<string, Tensor | undefined> {
  const entries = Array.from(module.namedCells(), ([name, cell, owner, attribute]): [string, Tensor | undefined] => {
    const hints = (owner.constructor as { pytorch?: Record<string, Permutation> }).pytorch
    const t = value(cell)
    return [pytorchName(name), hints?.[attribute] ? t?.permute(hints[attribute]).contiguous() : t]
  })
  return new Map(entries)
}

describe('layers give what PyTorch gives', () => {
  test('every stored layer is tested', () => {
    expect(Object.keys(layers).sort()).toEqual(golden.map(c => c.name).sort())
  })

  test.each(golden.map(c => [c.name, c] as const))('%s', async (name, c) => {
    const { make, load: options, call = (m, xs) => m.forward(...xs) } = layers[name]!
    const module = make().train(c.train)
    await loadState(module, c.state, options)
    for (const [number, step] of c.steps.entries()) {
      const inputs = step.inputs.map(load).map(t => (t.dtype === 'float32' ? t.requireGrad() : t))
      module.zeroGrad()
      const output = call(module, inputs)
      await expectTensor(`step ${number}`, output, step.output, close)
      output.backward(cotangent(output, 0))
      for (const [i, input] of inputs.entries()) {
        if (input.dtype !== 'float32') continue
        await expectGradient(`step ${number}: gradient of input ${i}`, input.grad, step.inputGrads[i]!, close)
      }
      if (options?.flattened) continue
      const grads = inPytorch(module, cell => cell.grad)
      for (const [parameter, expected] of Object.entries(step.grads)) {
        const got = grads.get(parameter)
        expect(got?.shape, `gradient of ${parameter}`).toEqual(expected.shape)
        await expectGradient(`step ${number}: gradient of ${parameter}`, got, expected, { rtol: 1e-4, atol: 1e-5 })
      }
    }
    if (!c.after) return
    const after = inPytorch(module, cell => cell)
    for (const [cell, expected] of Object.entries(c.after)) {
      expectNear(`${cell} after training`, await after.get(cell)!.data(), valuesOf(expected), close)
    }
    await expectTensor('evaluated', call(module.eval(), c.steps.at(-1)!.inputs.map(load)), c.evaluated!, close)
  })
})
