// On a GPU dropout is a part of the kernels that are compiled at run time, with the bits that it has by itself: each element has
// the word of its number, wherever a thread's neighbours begin.
import {
  autocast,
  compile,
  dropout,
  manualSeed,
  nn,
  noGrad,
  optim,
  Parameter,
  randomNormal,
  type Tensor,
  tensor,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'
import { type Fn, floats, joined, matrix, ownKernels, valuesOf } from './captured'

ownKernels()

/** Widths of one, odd, of half a pack, of a warp, of a block that holds the row, and of more than threads hold. */
const sizes: [width: number, rows: number][] = [
  [1, 5],
  [7, 9],
  [12, 3],
  [64, 17],
  [768, 5],
  [1030, 2],
  [20480, 2],
]
const p = { p: 0.3 }

describe.skipIf(testDevice === 'cpu')('dropout in joined operations, on a GPU', () => {
  test.each(floats)(
    'with what comes before and after it, in %s',
    async dtype => {
      for (const [width, rows] of sizes) {
        const fn: Fn = (a, b) => [dropout(a!, p).add(b!), dropout(a!.tanh(), p), dropout(b!.mul(2), p).neg()]
        const found = await joined(fn, [matrix(dtype, rows, width), matrix(dtype, rows, width, 2)])
        expect(found.join(' ').match(/dropoutMask/g), `width ${width}`).toHaveLength(3)
      }
    },
    600_000,
  )

  const cases: Record<string, [Fn, Tensor[], number]> = {
    'twice, of what others read': [
      a => {
        const x = dropout(a!.exp(), p)
        return [x.cumsum(0), dropout(x, { p: 0.9 }).mul(x), x]
      },
      [matrix('float32', 6, 41)],
      2,
    ],
    'beside operands that broadcast, are turned or are one number': [
      (a, row, column, turned, one) => [
        dropout(a!.mul(row!), p).mul(column!).add(turned!.transpose(0, 1)),
        dropout(turned!.transpose(0, 1).mul(one!), p).add(row!),
      ],
      [
        matrix('float32', 6, 40),
        matrix('float32', 1, 40),
        matrix('float32', 6, 1),
        matrix('float32', 40, 6),
        tensor(3),
      ],
      2,
    ],
    'of memory that is not aligned': [
      a => [dropout(a!.slice([1], [100]), p).mul(a!.slice([2], [101]))],
      [matrix('bfloat16', 1, 103).reshape([103])],
      1,
    ],
    'of several dtypes': [
      (a, b) => [dropout(a!, p).cast('float32').add(b!), dropout(b!.cast('float16'), p).cast('float64')],
      [matrix('bfloat16', 6, 40), matrix('float32', 6, 40)],
      2,
    ],
    'among many operands, of which threads compute few elements': [
      (...all) => [all.slice(1, 8).reduce((sum, x) => dropout(sum, p).add(x), all[0]!)],
      Array.from({ length: 8 }, (_, i) => matrix('float32', 5, 40, i + 1)),
      7,
    ],
    'of one element, and of nothing': [
      (a, b) => [dropout(a!.add(1), p), dropout(b!.add(1), p)],
      [tensor(2), tensor(new Float32Array(0), { shape: [0, 3] })],
      2,
    ],
    'of what is not finite': [
      a => [dropout(a!.mul(2), { p: 0.5 }).add(1)],
      [tensor(Array.from({ length: 64 }, (_, i) => [Number.NaN, Infinity, -Infinity, 3e38][i % 4]!))],
      1,
    ],
  }
  test.each(Object.entries(cases))('%s', async (_, [fn, inputs, count]) => {
    const found = await joined(fn, inputs)
    expect(found.join(' ').match(/dropoutMask/g)).toHaveLength(count)
  })

  test('under keys that are given, also at any place', async () => {
    const keys = tensor(new BigInt64Array([7n, 3n, 9n, 1n << 40n, -5n]))
    const fn: Fn = (a, k) => {
      const [first, second] = [0, 2].map(at => k!.slice([at], [at + 2]))
      return [
        dropout(a!.mul(2), { p: 0.5, key: first }).add(dropout(a!, { p: 0.5, key: first })),
        dropout(a!, { key: second }).neg(),
      ]
    }
    const found = await joined(fn, [matrix('float32', 5, 41), keys])
    expect(found.sort()).toEqual(['dropoutMask neg', 'mul dropoutMask dropoutMask add'])
  })

  test('is left alone where nothing is kept, under keys that the function makes, and where it broadcasts', async () => {
    const fn: Fn = (a, k) => [
      dropout(a!.mul(2), { p: 1 }),
      dropout(a!.add(1), { key: k!.add(1) }),
      a!.mul(3).mul(dropout(a!.slice([0, 0], [1, 40]), p)),
    ]
    const found = await joined(fn, [matrix('float32', 6, 40), tensor(new BigInt64Array([7n, 3n]))])
    expect(found.join()).not.toMatch('dropoutMask')
  })

  test('in totals of what it leaves', async () => {
    for (const [width, rows] of [
      [7, 9],
      [64, 5],
      [9001, 3],
    ] as const)
      for (const dtype of ['float32', 'bfloat16', 'float64'] as const) {
        const last = { axis: 1 }
        const fn: Fn = a => [
          dropout(a!, p).sum(last),
          dropout(a!.mul(2), p).max(last),
          dropout(a!.sub(1), p).square().mean(),
        ]
        const names = ['dropoutMask sum', 'mul dropoutMask max', 'sub dropoutMask square mean']
        expect(await joined(fn, [matrix(dtype, rows, width)])).toEqual(names)
      }
  }, 600_000)

  test('anew at each run, also of graphs that are launched again', async () => {
    const fn = (a: Tensor) => [dropout(a, p).add(a), dropout(a.mul(2), p).layerNorm()]
    const run = compile(fn)
    const a = matrix('float32', 4, 72)
    const draws: unknown[] = []
    for (const results of [fn, run]) {
      manualSeed(8)
      for (let i = 0; i < 5; i++) draws.push(await valuesOf(results(a)))
    }
    expect(draws.slice(5)).toEqual(draws.slice(0, 5))
    expect(draws[0]).not.toEqual(draws[1])
    expect((await run.explain(a)).replays).toMatchObject({ recorded: 1, replayed: 4, problem: '' })
  })
})

describe.skipIf(testDevice === 'cpu')('dropout around norms, on a GPU', () => {
  test.each(floats)(
    'of all widths, in %s',
    async dtype => {
      const other = dtype === 'float32' ? 'bfloat16' : 'float32'
      for (const [width, rows] of sizes) {
        const [weight, bias] = [2, 3].map(turn => matrix('float32', 1, width, turn).reshape([width]))
        // As in transformers, and after a norm alone.
        const fn: Fn = (h, x) => [
          dropout(h!, p).add(x!).layerNorm(weight, bias).cast(other),
          dropout(x!.rmsNorm(weight), p),
          dropout(dropout(x!, p).layerNorm(), p).cast(other),
        ]
        const found = await noGrad(() =>
          joined(fn, [matrix(other, rows, width).cast(dtype), matrix(dtype, rows, width, 5)]),
        )
        expect(found.sort(), `width ${width}`).toEqual([
          'dropoutMask add layerNorm cast',
          'dropoutMask layerNorm dropoutMask cast',
          'rmsNorm dropoutMask',
        ])
      }
    },
    900_000,
  )

  test.each(floats)(
    'and around their gradients, in %s',
    async dtype => {
      const other = dtype === 'float32' ? 'bfloat16' : 'float32'
      for (const [width, rows] of sizes.filter(([width]) => [7, 64, 768, 20480].includes(width))) {
        const parameters = [
          new Parameter(matrix(dtype, rows, width)),
          new Parameter(matrix(dtype, 1, width, 2).reshape([width])),
        ]
        const [given, weight] = parameters as [Parameter, Parameter]
        const fn: Fn = (s, h) => {
          const x = dropout(given.mul(s!).cast(other), p).cast(dtype).add(given)
          const loss = dropout(x.layerNorm(weight), p).mul(h!).cast('float32').sum()
          loss.backward()
          const gradients = parameters.map(({ grad }) => grad!)
          for (const parameter of parameters) parameter.grad = undefined
          return [loss, ...gradients]
        }
        const found = await joined(fn, [matrix(dtype, rows, width, 7), matrix(dtype, rows, width, 3)])
        expect(found.join(' ').match(/dropoutMask/g), `width ${width}`).toHaveLength(4)
        expect(found.join()).toMatch(/dropoutMask normalizeRowsGradient .*dropoutMask/)
      }
    },
    900_000,
  )
})

describe.skipIf(testDevice === 'cpu')('a layer of a transformer in training, on a GPU', () => {
  const stepOf = (activation: 'gelu' | 'relu') => {
    manualSeed(13)
    const model = new nn.TransformerEncoder(32, 2, 2, { feedForward: 64, activation, dropout: 0.2 }).to(testDevice)
    const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-2 })
    return (x: Tensor) => {
      const loss = autocast(() => model.forward(x).cast('float32').sub(x).square().mean(), { dtype: 'bfloat16' })
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    }
  }
  const x = () => {
    manualSeed(14)
    return randomNormal([3, 10, 32]).to(testDevice)
  }

  test('has no dropout by itself, and the losses of single operations', async () => {
    const [plain, captured] = [stepOf('gelu'), compile(stepOf('gelu'))]
    const losses: number[][] = []
    for (const step of [plain, captured]) {
      manualSeed(15)
      const found = []
      for (let i = 0; i < 4; i++) found.push(await step(x()).item())
      losses.push(found)
    }
    losses[0]!.forEach((loss, i) => {
      expect(losses[1]![i]).toBeCloseTo(loss, 3)
    })
    const { operations } = await captured.explain(x())
    expect(operations.filter(({ name }) => name === 'dropoutMask')).toEqual([])
    const joined = operations.map(({ attributes }) => attributes).filter(note => /dropoutMask/.test(note))
    expect(joined.filter(note => note.startsWith('dropoutMask add layerNorm'))).toHaveLength(4)
    expect(joined.filter(note => /normalizeRowsGradient cast dropoutMask$/.test(note))).toHaveLength(4)
  })

  test('leaves a ReLU that its gradient reads to the product before it', async () => {
    const { operations } = await compile(stepOf('relu')).explain(x())
    const notes = operations.map(({ name, attributes }) => (name.startsWith('fused') ? attributes : name))
    expect(notes.filter(note => note === 'linear relu')).toHaveLength(2)
    expect(notes.filter(note => note === 'dropoutMask')).toHaveLength(2)
    expect(notes.filter(note => note === 'dropoutMask reluGrad')).toHaveLength(2)
  })
})
