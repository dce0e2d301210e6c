// On a GPU norms are made in the kernel of what computes their rows, and gradients of norms in that of what goes on with them,
// with the bits of the operations one by one.
import { compile, noGrad, Parameter, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'
import { type Fn, floats, joined, matrix, ownKernels, valuesOf } from './captured'

ownKernels()

type Norm = (x: Tensor, weight?: Tensor, bias?: Tensor) => Tensor
const norms: [string, Norm][] = [
  ['layerNorm', (x, weight, bias) => x.layerNorm(weight, bias)],
  ['rmsNorm', (x, weight) => x.rmsNorm(weight)],
]
/** Widths of one, odd, of a warp, of a block that holds the row, and of more than threads hold; and rows of each. */
const sizes: [width: number, rows: number][] = [
  [1, 5],
  [7, 9],
  [64, 17],
  [768, 5],
  [1024, 3],
  [1030, 2],
  [20480, 2],
]

describe.skipIf(testDevice === 'cpu')('norms of what joined operations compute, on a GPU', () => {
  test.each(floats)(
    'of all widths, in %s',
    async dtype => {
      for (const [name, norm] of norms) {
        for (const [width, rows] of sizes) {
          const [weight, bias] = [matrix('float32', 1, width, 2), matrix(dtype, 1, width, 3)].map(t =>
            t.reshape([width]),
          )
          const inputs = [matrix(dtype, rows, width), matrix(dtype, rows, width, 5), bias!, weight!]
          // With parameters and without; and a sum that others read.
          const fn: Fn = (a, b, c, w) => {
            const sum = a!.mul(0.5).add(b!).add(c!)
            return [norm(a!.mul(b!), w, c), norm(a!.add(b!)), norm(sum, w, c), sum.cumsum(0)]
          }
          const found = await noGrad(() => joined(fn, inputs))
          expect(found.sort(), `${name} of ${width}`).toEqual(
            [`add ${name}`, `mul ${name}`, `mul add add ${name}`].sort(),
          )
        }
      }
    },
    900_000,
  )

  const cases: Record<string, [Fn, Tensor[], string[]]> = {
    'of inputs that broadcast, are turned or are one number': [
      (a, row, column, turned, one) => [
        a!.add(row!).mul(column!).add(turned!.transpose(0, 1)).mul(one!).layerNorm(),
        a!.sub(row!).mul(2.5).rmsNorm(),
      ],
      [
        matrix('float32', 6, 40),
        matrix('float32', 1, 40),
        matrix('float32', 6, 1),
        matrix('float32', 40, 6),
        tensor(3),
      ],
      ['add mul add mul layerNorm', 'sub mul rmsNorm'],
    ],
    'of several dtypes': [
      (a, b) => {
        const sum = a!.add(b!)
        return [sum.cast('float32').layerNorm(), sum.cumsum(0), b!.cast('bfloat16').mul(2).rmsNorm()]
      },
      [matrix('bfloat16', 6, 40), matrix('float32', 6, 40).cast('bfloat16')],
      ['add cast layerNorm', 'mul rmsNorm'],
    ],
    'of a conversion alone': [a => [a!.cast('float32').layerNorm()], [matrix('float16', 6, 40)], ['cast layerNorm']],
    'over several axes': [
      a => [
        a!.mul(2).reshape([3, 4, 20]).layerNorm(undefined, undefined, { axes: 2 }),
        a!.add(1).layerNorm(undefined, undefined, { axes: 2 }),
      ],
      [matrix('float32', 6, 40)],
      ['add layerNorm'],
    ],
    'of memory that is not aligned': [
      a => [
        a!
          .slice([1], [481])
          .mul(a!.slice([2], [482]))
          .reshape([6, 80])
          .layerNorm(),
        a!
          .slice([1], [481])
          .reshape([6, 80])
          .add(a!.slice([0], [480]).reshape([6, 80]))
          .layerNorm(),
      ],
      [matrix('float32', 1, 482).reshape([482])],
      ['add layerNorm'],
    ],
    'of what is not finite': [
      (a, b) => [a!.mul(b!).layerNorm(), a!.add(b!).rmsNorm()],
      [
        tensor([1, Number.NaN, 3, 4, 1, 2, Infinity, 4, 0, 0, 0, 0, 1e30, 1e30, -1e30, 1], { shape: [4, 4] }),
        tensor([1, 2, 3, 4]),
      ],
      ['mul layerNorm', 'add rmsNorm'],
    ],
    'of nothing': [
      a => [a!.mul(2).layerNorm(), a!.add(1).rmsNorm()],
      [tensor(new Float32Array(0), { shape: [0, 4] })],
      [],
    ],
  }
  test.each(Object.entries(cases))('%s', async (_, [fn, inputs, names]) => {
    const found = await noGrad(() => joined(fn, inputs))
    expect(found.filter(note => /Norm/.test(note))).toEqual(names)
  })

  test('are run one by one where that is chosen', async () => {
    process.env.ANNEAL_CUDA_FUSION = '0'
    try {
      const { operations } = await compile((a: Tensor) => a.mul(2).layerNorm()).explain(matrix('float32', 6, 40))
      expect(operations.map(({ name }) => name)).toEqual(['mul', 'layerNorm'])
    } finally {
      delete process.env.ANNEAL_CUDA_FUSION
    }
  })

  test('in graphs that are launched again, with other values', async () => {
    const run = compile((a: Tensor) => [a.mul(2).layerNorm(), a.exp().rmsNorm()])
    for (let i = 1; i < 6; i++) {
      const a = matrix('float32', 4, 72).mul(i / 5)
      expect(await valuesOf(run(a))).toEqual(await valuesOf([a.mul(2).layerNorm(), a.exp().rmsNorm()]))
    }
    const { replays } = await run.explain(matrix('float32', 4, 72))
    expect(replays).toMatchObject({ recorded: 1, replayed: 4, problem: '' })
  })
})

describe.skipIf(testDevice === 'cpu')('norms with what goes on with them, on a GPU', () => {
  test.each(floats)(
    'of all widths, in %s',
    async dtype => {
      const other = dtype === 'float32' ? 'bfloat16' : 'float32'
      for (const [name, norm] of norms) {
        for (const [width, rows] of sizes) {
          const [weight, bias] = [2, 3].map(turn => matrix('float32', 1, width, turn).reshape([width]))
          const inputs = [matrix(dtype, rows, width), matrix(dtype, rows, width, 5), matrix(other, rows, width, 6)]
          // By itself, and after a chain that nobody else reads, or somebody does; and what nobody else reads in turn.
          const fn: Fn = (a, b, c) => {
            const [sum, read] = [a!.add(b!), norm(b!, weight)]
            return [
              norm(a!, weight, bias).cast(other),
              read.mul(c!),
              read.cumsum(0),
              norm(a!.mul(b!), weight, bias).cast(other).mul(c!),
              norm(sum).add(b!).mul(0.5),
              sum.cumsum(0),
            ]
          }
          const found = await noGrad(() => joined(fn, inputs))
          const expected = [`${name} cast`, `${name} mul`, `mul ${name} cast mul`, `add ${name} add mul`]
          expect(found.sort(), `${name} of ${width}`).toEqual(expected.sort())
        }
      }
    },
    900_000,
  )

  test('of memory that is not aligned, of what broadcasts, and over several axes', async () => {
    const fn: Fn = (a, row, column) => {
      const part = a!.slice([1], [481]).reshape([6, 80])
      const axes = { axes: 2 }
      return [
        part.layerNorm().mul(row!).cast('float16'),
        part.mul(column!).rmsNorm().add(column!).relu(),
        part.add(1).reshape([3, 2, 80]).mul(2).layerNorm(undefined, undefined, axes).tanh(),
      ]
    }
    const inputs = [matrix('float32', 1, 482).reshape([482]), matrix('float32', 1, 80), matrix('float32', 6, 1)]
    const found = await noGrad(() => joined(fn, inputs))
    expect(found.filter(note => /Norm/.test(note))).toEqual([
      'layerNorm mul cast',
      'mul rmsNorm add relu',
      'mul layerNorm tanh',
    ])
  })
})

describe.skipIf(testDevice === 'cpu')('gradients of norms with what goes on with them, on a GPU', () => {
  /** The gradients of parameters of which `fn` computes something. */
  const gradientsOf =
    (parameters: Parameter[], fn: Fn): Fn =>
    (...inputs) => {
      const [y] = fn(...inputs)
      y!.cast('float32').square().sum().backward()
      const gradients = parameters.map(({ grad }) => grad!)
      for (const parameter of parameters) parameter.grad = undefined
      return [y!, ...gradients]
    }

  test.each(floats)(
    'of all widths, in %s',
    async dtype => {
      for (const [name, norm] of norms) {
        for (const [width, rows] of sizes.filter(([width]) => [7, 64, 768, 20480].includes(width))) {
          const given = new Parameter(matrix(dtype, rows, width))
          const [weight, bias] = [2, 3].map(turn => new Parameter(matrix('float32', 1, width, turn).reshape([width])))
          const scale = matrix(dtype, rows, width, 7)
          // A residual goes by the norm; the gradient that comes out goes through a mask.
          const plain = gradientsOf([given], s => {
            const x = given.mul(s!)
            return [norm(x).mul(s!).add(x)]
          })
          const whole = gradientsOf(name === 'layerNorm' ? [given, weight!, bias!] : [given, weight!], s => {
            const x = given.mul(s!)
            return [norm(x, weight, bias).mul(s!).add(x)]
          })
          for (const fn of width === 64 ? [plain, whole] : [whole]) {
            const found = await joined(fn, [scale])
            expect(
              found.filter(note => /normalizeRowsGradient/.test(note)),
              `${name} of ${width}`,
            ).toEqual([expect.stringMatching(/^normalizeRowsGradient (add|mul)/)])
          }
        }
      }
    },
    900_000,
  )

  test('that others read, too, and that take a row of numbers', async () => {
    const given = new Parameter(matrix('float32', 6, 40))
    const fn = gradientsOf([given], (row, column) => [given.mul(row!).add(column!).layerNorm().tanh().add(given)])
    const found = await joined(fn, [matrix('float32', 1, 40), matrix('float32', 6, 1)])
    expect(found.filter(note => /normalizeRowsGradient/.test(note))).toHaveLength(1)
  })

  test('that come back in 16 bits, as under autocast', async () => {
    for (const width of [72, 1030]) {
      const given = new Parameter(matrix('float32', 6, width))
      const weight = new Parameter(matrix('float32', 1, width, 2).reshape([width]))
      const fn = gradientsOf([given, weight], (projection, scale) => {
        const x = given.mul(scale!)
        return [x.layerNorm(weight).cast('bfloat16').matmul(projection!).cast('float32').add(x)]
      })
      const found = await joined(fn, [matrix('bfloat16', width, width, 3).mul(0.01), matrix('float32', 6, width, 5)])
      const norms = found.filter(note => /layerNorm|normalizeRowsGradient/.test(note))
      expect(norms, `width ${width}`).toEqual([
        'mul layerNorm cast',
        expect.stringMatching(/^cast normalizeRowsGradient add/),
      ])
    }
  })
})
