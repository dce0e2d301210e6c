// Sums, means and extrema of what joined elementwise operations compute are taken in their kernel on a GPU, with the bits of the
// operations one by one.
import { compile, type DType, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'
import { type Fn, joined, ownKernels, special, valuesOf, whole } from './captured'

ownKernels()

describe.skipIf(testDevice === 'cpu')('totals of what joined operations compute, on a GPU', () => {
  const matrix = (dtype: DType, rows: number, width: number) => {
    const value = (i: number) => (dtype.includes('float') ? Math.sin(i * 1.7) * 3 : whole[i % whole.length]!)
    const data = Float64Array.from({ length: rows * width }, (_, i) => value(i))
    return tensor(data, { shape: [rows, width] })
      .cast(dtype)
      .to(testDevice)
  }
  const last = { axis: 1 }

  // Parts of warps, packs that do not come out even, a block for each row, and rows in pieces.
  const sizes = [
    [9, 7],
    [5, 64],
    [3, 9001],
  ] as const
  test.each<[DType]>([['float32'], ['float64'], ['float16'], ['bfloat16'], ['int32'], ['uint8']])(
    'sums, means and extrema of rows, in %s',
    async dtype => {
      for (const size of sizes) {
        const fn: Fn = a => [
          a!.mul(2).sum(last),
          a!.mul(3).mean(last),
          a!.square().max(last),
          a!.add(1).min(last),
          a!.sub(1).sum(),
        ]
        const names = ['mul sum', 'mul mean', 'square max', 'add min', 'sub sum']
        expect(await joined(fn, [matrix(dtype, size[0]!, size[1]!)])).toEqual(names)
      }
    },
    600_000,
  )

  const x = () => matrix('float32', 12, 40).reshape([4, 3, 40])
  const cases: Record<string, [Fn, Tensor[], string[]]> = {
    'of inputs that broadcast, and of a number': [
      (a, row, column, one) => [a!.mul(row!).add(column!).mul(one!).sum({ axis: -1 })],
      [x(), matrix('float32', 1, 40), x().slice([0, 0, 0], [4, 3, 1]), tensor(0.3)],
      ['mul add mul sum'],
    ],
    'of transposed inputs, over the last two axes': [
      (a, b) => [
        a!
          .permute([2, 1, 0])
          .sub(b!)
          .abs()
          .max({ axis: [1, 2], keepDims: true }),
      ],
      [x(), x().permute([2, 1, 0])],
      ['sub abs max'],
    ],
    'of memory that is not aligned': [
      a => [
        a!
          .slice([1], [482 - 3])
          .mul(a!.slice([2], [482 - 2]))
          .sum(),
      ],
      [matrix('float32', 1, 481).reshape([481])],
      ['mul sum'],
    ],
    'beside results that are read': [
      a => {
        const y = a!.exp()
        const z = y.mul(a!)
        return [z.sum(), y.softmax(), z.cumsum(0)]
      },
      [x()],
      ['exp mul sum'],
    ],
    'of several dtypes, and of truth values': [
      (a, b) => [
        a!.cast('bfloat16').add(b!).cast('float32').mul(a!).mean(),
        a!.greater(b!).sum({ axis: -1 }),
        b!.cast('int32').add(1).mean({ axis: -1 }),
        b!.cast('float64').sum({ axis: 1 }),
      ],
      [x(), x().cast('bfloat16')],
      ['cast add cast mul mean', 'greater sum', 'cast add mean'],
    ],
    'of values that are not finite': [
      (a, b) => [a!.mul(b!).sum({ axis: 1 }), a!.sub(b!).max({ axis: 1 }), a!.add(b!).min(), b!.neg().max()],
      [tensor([...special, 2, 3, 4], { shape: [5, 4] }), tensor([1, -1, 0.5, 3])],
      ['mul sum', 'sub max', 'add min', 'neg max'],
    ],
    'of one value: nothing is joined': [a => [a!.mul(2).sum(), a!.mul(3).sum({ axis: 0 })], [tensor([4])], []],
    'of nothing': [
      a => [a!.mul(2).sum(), a!.mul(3).sum({ axis: 1 }), a!.add(1).mean()],
      [tensor(new Float32Array(0), { shape: [3, 0] })],
      [],
    ],
  }
  test.each(Object.entries(cases))('%s', async (_, [fn, inputs, names]) => {
    const found = await joined(fn, inputs)
    expect(found.filter(note => /\b(sum|mean|max|min)\b/.test(note))).toEqual(names)
  })

  test('in graphs that are launched again, with other values', async () => {
    const run = compile((a: Tensor) => [a.tanh().sum(), a.exp().mean({ axis: 1 })])
    for (let i = 1; i < 6; i++) {
      const a = matrix('float32', 4, 9001).mul(i / 5)
      const found = await valuesOf(run(a))
      expect(found).toEqual(await valuesOf([a.tanh().sum(), a.exp().mean({ axis: 1 })]))
    }
    const { replays } = await run.explain(matrix('float32', 4, 9001))
    expect(replays).toMatchObject({ recorded: 1, replayed: 4, problem: '' })
  })
})
