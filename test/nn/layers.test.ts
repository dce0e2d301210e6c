import { full, manualSeed, type Tensor, tensor } from 'anneal'
import * as nn from 'anneal/nn'
import { describe, expect, test } from 'vitest'
import { codeOf } from '../support/thrown'

describe('layers refuse', () => {
  const zeros = (...shape: number[]) => full(shape, 0)
  test.each<[string, () => unknown, string]>([
    [
      'inputs of another size',
      () => new nn.Linear(30, 2).forward(zeros(8, 31)),
      'Linear: expected inputs of size 30 in the last axis; got [8,31]',
    ],
    [
      'scalars',
      () => new nn.Linear(3, 2).forward(zeros()),
      'Linear: expected inputs of size 3 in the last axis; got []',
    ],
    [
      'images of other channels',
      () => new nn.Conv2d(3, 2, 3).forward(zeros(1, 3, 8, 8)),
      'Conv2d: expected inputs of shape [N, H, W, 3]; got [1,3,8,8]',
    ],
    [
      'images without a batch',
      () => new nn.MaxPool2d(2).forward(zeros(8, 8, 3)),
      'MaxPool2d: expected inputs of shape [N, H, W, C]; got [8,8,3]',
    ],
    [
      'other channels',
      () => new nn.BatchNorm1d(3).forward(zeros(8, 4)),
      'BatchNorm1d: expected inputs of size 3 in the last axis; got [8,4]',
    ],
    [
      'one value per channel',
      () => new nn.BatchNorm1d(3).forward(zeros(1, 3)),
      'BatchNorm1d: training needs more than one value for each channel',
    ],
    [
      'other last axes',
      () => new nn.LayerNorm([2, 3]).forward(zeros(2, 4)),
      'LayerNorm: expected inputs with the last axes [2,3]; got [2,4]',
    ],
    [
      'sequences of another size',
      () => new nn.MultiHeadAttention(4, 2).forward(zeros(1, 2, 3)),
      'MultiHeadAttention: expected inputs of size 4',
    ],
    [
      'sequences without a batch',
      () => new nn.MultiHeadAttention(4, 2).forward(zeros(2, 4)),
      'expected inputs of shape [N, T, 4]; got [2,4]',
    ],
  ])('%s', (_, run, message) => {
    expect(run).toThrow(message)
    expect(codeOf(run)).toBe('ERR_SHAPE')
  })

  test.each<[string, () => unknown, string]>([
    [
      'sizes that are no integers',
      () => new nn.Linear(2.5, 1),
      'Linear: expected inputs to be a positive integer; got 2.5',
    ],
    [
      'sizes that are no numbers',
      () => new nn.Linear('3' as never, 1),
      "Linear: expected inputs to be a positive integer; got '3'",
    ],
    ['sizes of zero', () => new nn.Embedding(0, 1), 'Embedding: expected count to be a positive integer; got 0'],
    [
      'too few kernel sizes',
      () => new nn.Conv3d(1, 1, [2, 2]),
      'Conv3d: expected kernel to be a number or a list of 3; got a list of 2',
    ],
    [
      'unknown padding',
      () => new nn.Conv2d(1, 1, 3, { padding: 'full' as never }),
      "Conv2d: expected padding to be 'same', 'valid' or sizes; got 'full'",
    ],
    [
      'groups that do not divide channels',
      () => new nn.Conv2d(3, 4, 3, { groups: 2 }),
      'Conv2d: 3 channels cannot be split into 2 groups',
    ],
    ['probabilities over one', () => new nn.Dropout(1.5), 'Dropout: expected p to be a number from 0 to 1; got 1.5'],
    ['heads that do not divide the size', () => new nn.MultiHeadAttention(5, 2), 'size must be a multiple of heads'],
    [
      'a padding row that is not there',
      () => new nn.Embedding(3, 2, { paddingIndex: 3 }),
      'Embedding: expected paddingIndex to be a row of 3; got 3',
    ],
    [
      'unknown forms of GELU',
      () => new nn.GELU({ approximate: 'erf' as never }),
      'GELU: expected approximate to be one of none, tanh',
    ],
    [
      'groups of channels that do not fit',
      () => new nn.GroupNorm(4, 6),
      'GroupNorm: expected channels to be a multiple of groups; got 6 and 4',
    ],
    ['both size and scale', () => new nn.Upsample({ size: 2, scale: 2 }), 'Upsample: expected either size or scale'],
    [
      'a sequence of something else',
      () => new nn.Sequential('x' as never),
      'Sequential: expected modules; got string at 0',
    ],
  ])('%s', (_, run, message) => {
    expect(run).toThrow(message)
    expect(codeOf(run)).toBe('ERR_VALUE')
  })
})

describe('layers refuse what is no tensor', () => {
  const pair = [full([1, 2, 2], 0), [full([1, 1, 2], 0)]]
  const layers = [
    new nn.Linear(2, 2),
    new nn.Bilinear(2, 2, 2),
    new nn.Conv2d(2, 2, 1),
    new nn.ConvTranspose1d(2, 2, 1),
    new nn.QuantizedLinear(2, 2),
    new nn.QuantizedConv2d(2, 2, 1),
    new nn.BatchNorm1d(2),
    new nn.InstanceNorm2d(2),
    new nn.LayerNorm(2),
    new nn.RMSNorm(2),
    new nn.GroupNorm(1, 2),
    new nn.PReLU(2),
    new nn.MultiHeadAttention(2, 1),
    new nn.TransformerEncoderLayer(2, 1),
    new nn.TransformerEncoderLayer(2, 1, { normFirst: true }),
    new nn.PositionalEncoding(2),
    new nn.RotaryEmbedding(2),
    new nn.RNN(2, 2),
    new nn.GRU(2, 2),
    new nn.LSTM(2, 2),
    new nn.GRUCell(2, 2),
    new nn.LSTMCell(2, 2),
    new nn.MaxPool2d(2),
    new nn.ZeroPad2d(1),
    new nn.Dropout2d(0.5),
    new nn.Reshape([2]),
    new nn.Unflatten(1, [2]),
    new nn.Add(),
    new nn.Subtract(),
    new nn.Multiply(),
  ].map((layer): [string, nn.Module] => [layer.constructor.name, layer])

  test.each(layers)('%s', (name, layer) => {
    for (const [given, shown] of [
      [undefined, 'undefined'],
      [null, 'null'],
      ['x', "'x'"],
      [{}, 'an object'],
      [nn.input([2]), 'an object of class Node'],
      [[[1, 2]], 'an array'],
    ]) {
      expect(() => layer.forward(given)).toThrow(`${name}: expected a tensor; got ${shown}`)
      expect(codeOf(() => layer.forward(given))).toBe('ERR_VALUE')
    }
    expect(() => layer.forward(pair)).toThrow(`${name}: expected a tensor; got [tensor, …]. LSTM, GRU and RNN give`)
  })

  test('what goes with the first input', () => {
    const x = full([1, 2, 2], 0)
    const refused = (name: string, layer: nn.Module, ...rest: unknown[]) =>
      expect(() => layer.forward(x, ...rest)).toThrow(`${name}: expected `)
    refused('MultiHeadAttention', new nn.MultiHeadAttention(2, 1), [[1, 2]], [[1, 2]])
    refused('MultiHeadAttention', new nn.MultiHeadAttention(2, 1), null)
    refused('MultiHeadAttention: keyMask', new nn.MultiHeadAttention(2, 1), { keyMask: [true] })
    refused('GRU: states', new nn.GRU(2, 2), [1, 2])
    refused('LSTM', new nn.LSTM(2, 2), full([1, 1, 2], 0))
    refused('Add', new nn.Add(), [1])
    refused('Subtract', new nn.Subtract(), undefined)
    expect(() => new nn.LSTMCell(2, 2).forward(full([1, 2], 0), full([1, 2], 0) as never)).toThrow(
      'LSTMCell: expected the state as [hidden, cell]; got an object of class Tensor',
    )
  })

  test('an LSTM followed by a layer of its output says what to do', () => {
    const model = new nn.Sequential(new nn.LSTM(2, 2), new nn.Linear(2, 1))
    expect(() => model.forward(full([1, 2, 2], 0))).toThrow(
      'Linear: expected a tensor; got [tensor, …]. LSTM, GRU and RNN give [output, state]: call them in a module of your own that passes on the output',
    )
  })
})

describe('layers', () => {
  test('begin as in PyTorch', async () => {
    manualSeed(1)
    const bound = async (p: Tensor) => Number(await p.abs().max().item())
    const linear = new nn.Linear(100, 400)
    expect(await bound(linear.weight)).toBeLessThanOrEqual(0.1)
    expect(await bound(linear.weight)).toBeGreaterThan(0.0999)
    expect(await bound(linear.bias!)).toBeGreaterThan(0.098)
    const conv = new nn.Conv2d(4, 64, 5)
    expect(await bound(conv.weight)).toBeCloseTo(0.1, 3)
    const attention = new nn.MultiHeadAttention(64, 4)
    expect(await bound(attention.inProjWeight)).toBeCloseTo(Math.sqrt(6 / 256), 3)
    expect(await bound(attention.outProj.bias!)).toBe(0)
    const rows = await new nn.Embedding(3, 4, { paddingIndex: -2 }).weight.toArray()
    expect((rows as number[][]).map(row => row.every(v => v === 0))).toEqual([false, true, false])
  })

  test('dropout keeps the mean while training, and everything in evaluation', async () => {
    manualSeed(2)
    const layer = new nn.Dropout(0.25)
    const x = full([100, 100], 3)
    const values = Array.from(await layer.forward(x).data(), Number)
    const zeros = values.filter(v => v === 0).length
    expect(zeros / values.length).toBeCloseTo(0.25, 1)
    expect(values.filter(v => v !== 0).every(v => v === 4)).toBe(true)
    expect(layer.eval().forward(x)).toBe(x)
    expect(await new nn.Dropout(1).forward(full([2], 1)).toArray()).toEqual([0, 0])
  })

  test('spatial dropout drops whole channels', async () => {
    manualSeed(3)
    const output = (await new nn.Dropout2d(0.5).forward(full([8, 2, 3, 8], 1)).toArray()) as number[][][][]
    const kinds = new Set<number>()
    for (const image of output) {
      for (let c = 0; c < 8; c++) {
        const channel = new Set(image.flat().map(pixel => pixel[c]!))
        expect(channel.size).toBe(1)
        for (const v of channel) kinds.add(v)
      }
    }
    expect([...kinds].sort()).toEqual([0, 2])
  })

  test('attention with dropout is attention where nothing is dropped', async () => {
    manualSeed(4)
    const x = tensor([
      [
        [1, 2, 3, 4],
        [0, -1, 2, 0],
        [2, 2, -1, 1],
      ],
    ])
    const keyMask = tensor([[true, true, false]])
    const plain = new nn.MultiHeadAttention(4, 2, { kvHeads: 1 })
    const dropping = new nn.MultiHeadAttention(4, 2, { kvHeads: 1, dropout: 1e-12 })
    dropping.loadStateDict(plain.stateDict())
    for (const options of [{}, { causal: true }, { keyMask }, { keyMask, causal: true }]) {
      const [a, b] = [await plain.forward(x, options).data(), await dropping.forward(x, options).data()]
      for (let i = 0; i < a.length; i++) expect(b[i]).toBeCloseTo(Number(a[i]), 5)
    }
  })

  test('causal attention does not see what comes after', async () => {
    const attention = new nn.MultiHeadAttention(4, 2, { rotary: {} })
    const first = async (x: Tensor) => attention.forward(x, { causal: true }).slice([0, 0, 0], [1, 1, 4], {}).data()
    const a = await first(
      tensor([
        [
          [1, 2, 3, 4],
          [5, 6, 7, 8],
        ],
      ]),
    )
    const b = await first(
      tensor([
        [
          [1, 2, 3, 4],
          [-5, 0, 1, 2],
        ],
      ]),
    )
    expect(a).toEqual(b)
  })

  test('positional encodings', async () => {
    const encoding = new nn.PositionalEncoding(4, { length: 3 })
    const values = (await encoding.forward(full([1, 3, 4], 0)).toArray()) as number[][][]
    for (let t = 0; t < 3; t++) {
      const expected = [Math.sin(t), Math.cos(t), Math.sin(t / 100), Math.cos(t / 100)]
      for (let i = 0; i < 4; i++) expect(values[0]![t]![i]).toBeCloseTo(expected[i]!, 6)
    }
    expect(() => encoding.forward(full([1, 4, 4], 0))).toThrow(/with T up to 3; got \[1,4,4\]/)
    expect(encoding.parameters()).toEqual([])
  })

  test('rotary embedding keeps lengths and turns by position', async () => {
    const x = full([1, 2, 4], 1)
    const values = (await new nn.RotaryEmbedding(4).forward(x).toArray()) as number[][][]
    expect(values[0]![0]).toEqual([1, 1, 1, 1])
    expect(values[0]![1]![0]).toBeCloseTo(Math.cos(1) - Math.sin(1), 5)
    expect(Math.hypot(...values[0]![1]!)).toBeCloseTo(2, 5)
  })

  test('shapes', () => {
    const x = full([2, 3, 4], 0)
    expect(new nn.Flatten().forward(x).shape).toEqual([2, 12])
    expect(new nn.Reshape([4, -1]).forward(x).shape).toEqual([2, 4, 3])
    expect(new nn.Unflatten(-1, [2, 2]).forward(x).shape).toEqual([2, 3, 2, 2])
    expect(new nn.Identity().forward(x)).toBe(x)
    expect(new nn.SwiGLU().forward(x).shape).toEqual([2, 3, 2])
    expect(new nn.GEGLU({ axis: 0 }).forward(x).shape).toEqual([1, 3, 4])
    expect(new nn.GlobalAvgPool().forward(full([2, 5, 6, 3], 1)).shape).toEqual([2, 3])
    expect(new nn.GlobalMaxPool({ keepDims: true }).forward(full([2, 5, 6, 3], 1)).shape).toEqual([2, 1, 1, 3])
  })
})
