// Elementwise operations that follow each other are one kernel on a GPU, written for them and compiled at run time. It gives
// what the operations give one by one, bit for bit on the emulator.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as anneal from 'anneal'
import { compile, type DType, devices, nn, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import * as internal from '../../src/internal.generated'
import { findNative } from '../../src/load'
import { native } from '../../src/native'
import { testDevice } from '../support/device'
import { type Fn, joined, ownKernels, special, whole } from './captured'

const folder = ownKernels()

/** Values of which none is left out, as many as a few packs and a rest. */
const inputOf = (dtype: DType, turn: number) => {
  const values = dtype.includes('float') ? special : whole
  const data = Array.from({ length: 37 }, (_, i) => values[(i * (turn + 1) + turn) % values.length]!)
  return tensor(data, { dtype: 'float64' }).cast(dtype).to(testDevice)
}

const [floats, integers] = ['float', 'int'] as const
type Kind = typeof floats | typeof integers
/** Operations whose functors take one kind of numbers only; the others take all. */
const only: Record<string, Kind> = Object.fromEntries([
  ...['bitwiseAnd', 'bitwiseOr', 'bitwiseXor', 'shiftLeft', 'shiftRight'].map(n => [n, integers]),
  ...['lerp'].map(n => [n, floats]),
])
const unary =
  `neg abs sign square reciprocal sqrt rsqrt exp expm1 exp2 log log1p log2 log10 sin cos tan asin acos atan sinh cosh
  tanh asinh acosh atanh erf erfc erfinv ceil floor round trunc isNan isInf isFinite logicalNot relu leakyRelu elu
  gelu silu mish sigmoid logSigmoid softplus hardSwish hardSigmoid hardTanh`.split(/\s+/)
const binary = `add sub mul div maximum minimum atan2 hypot equal notEqual less lessEqual greater
  greaterEqual isClose logicalAnd logicalOr logicalXor bitwiseAnd bitwiseOr bitwiseXor shiftLeft shiftRight reluGrad
  leakyReluGrad eluGrad geluGrad siluGrad mishGrad sigmoidGrad tanhGrad softplusGrad hardSwishGrad hardSigmoidGrad`.split(
  /\s+/,
)

const functions = { ...internal, ...anneal } as unknown as Record<string, (...args: unknown[]) => Tensor>
const takes = (name: string, kind: Kind) =>
  (only[name] ?? kind) === kind && !(kind === integers && name.endsWith('Grad')) && (functions[name] ?? null) !== null

describe.skipIf(testDevice === 'cpu')('joined operations on a GPU', () => {
  test.each<[DType]>([['float32'], ['float64'], ['bfloat16'], ['int32'], ['uint8']])(
    'every functor, in %s',
    async dtype => {
      const kind = dtype.includes('float') ? floats : integers
      const names = [...unary, ...binary].filter(name => takes(name, kind))
      // A result that others read makes them one group, of which four may be read outside.
      const fn: Fn = (x, y) => {
        const out: Tensor[] = []
        let first = x!
        for (const [i, name] of names.entries()) {
          if (i % 4 === 0) first = x!.mul(i + 2)
          out.push(unary.includes(name) ? functions[name]!(first) : functions[name]!(first, y))
        }
        return out
      }
      const notes = (await joined(fn, [inputOf(dtype, 0), inputOf(dtype, 1)])).join(' ').split(' ')
      expect(names.filter(name => !notes.includes(name))).toEqual([])
    },
    600_000,
  )

  const x = () =>
    tensor(
      Float32Array.from({ length: 240 }, (_, i) => Math.sin(i) * 3),
      { shape: [6, 5, 8] },
    )
  const cases: Record<string, [Fn, Tensor[]]> = {
    'a row, a column and a number for all': [
      (a, row, column, one) => [a!.mul(row!).add(column!).mul(one!).tanh(), a!.add(row!).mul(2.5)],
      [x(), x().slice([0, 0, 0], [1, 1, 8]), x().slice([0, 0, 0], [6, 5, 1]), tensor(0.3)],
    ],
    'transposed and reversed inputs': [
      (a, b) => [a!.permute([2, 1, 0]).add(b!).exp(), b!.permute([1, 2, 0]).mul(2).add(1)],
      [x(), x().permute([2, 1, 0])],
    ],
    'rows that no pack divides': [
      (a, b) => [a!.add(b!).sigmoid().mul(a!)],
      [
        tensor(
          Float32Array.from({ length: 91 }, (_, i) => i),
          { shape: [13, 7] },
        ),
        tensor([1, 2, 3, 4, 5, 6, 7]),
      ],
    ],
    'memory that is not aligned': [
      a => [
        a!
          .slice([1], [100])
          .add(1)
          .mul(a!.slice([2], [101]))
          .exp(),
      ],
      [tensor(Float32Array.from({ length: 101 }, (_, i) => i / 50))],
    ],
    'several dtypes': [
      (a, b) => {
        const h = a!.cast('bfloat16').add(b!)
        return [
          h.cast('float32').mul(a!),
          h.greater(0).logicalNot(),
          h.cast('int32').mul(2),
          h.cast('bool').cast('float16'),
        ]
      },
      [x(), x().cast('bfloat16')],
    ],
    'numbers of operations': [
      a => [
        a!.mul(2).clamp({ min: -1, max: 0.7 }).leakyRelu({ slope: 0.3 }).elu({ alpha: 0.2 }),
        a!.add(1).gelu({ approximate: 'tanh' }),
      ],
      [x()],
    ],
    'three operands': [
      (a, b) => [anneal.where(a!.mul(2).greater(b!), a!, b!).lerp(b!, a!).mul(3)],
      [x(), x().slice([0, 0, 0], [1, 1, 8])],
    ],
    'one element': [a => [a!.add(1).exp()], [tensor([2])]],
    scalars: [(a, b) => [a!.mul(b!).add(1).exp()], [tensor(2), tensor(3)]],
    'nothing at all': [a => [a!.add(1).exp()], [tensor(new Float32Array(0), { shape: [0, 3] })]],
    'the place of an input taken': [
      a => [a!.matmul(a!).add(1).mul(2).exp().matmul(a!)],
      [x().slice([0, 0, 0], [6, 5, 5])],
    ],
  }
  test.each(Object.entries(cases))('%s', async (name, [fn, inputs]) => {
    const notes = await joined(fn, inputs)
    if (name !== 'nothing at all') expect(notes.length).toBeGreaterThan(0)
  })

  test('products and their neighbours are left alone', async () => {
    const linear = new nn.Linear(8, 8)
    const run = compile((a: Tensor) => linear.forward(a).relu().add(a))
    const { operations, notes } = await run.explain(x())
    const names = operations.map(({ name }) => name)
    expect(names).toContain('fusedElementwise')
    expect(names).not.toContain('fusedEpilogue')
    expect(notes).toEqual([])
  })

  test('are run one by one where that is chosen, and explain() says so', async () => {
    process.env.ANNEAL_CUDA_FUSION = '0'
    try {
      const run = compile((a: Tensor) => a.exp().mul(2))
      const explanation = await run.explain(x())
      expect(explanation.operations.map(({ name }) => name)).toEqual(['exp', 'mul'])
      expect(explanation.notes.join()).toMatch(/not joined: ANNEAL_CUDA_FUSION=0/)
      expect(String(explanation)).toContain('ANNEAL_CUDA_FUSION=0')
    } finally {
      delete process.env.ANNEAL_CUDA_FUSION
    }
  })

  test('doctor says what compiles them, or what is missing', () => {
    const found = findNative()
    if ('failure' in found) throw new Error('no addon')
    const program = `console.log(require(${JSON.stringify(found.path)}).doctorCuda()['joined operations'])`
    const doctor = (env: NodeJS.ProcessEnv) =>
      execFileSync(process.execPath, ['-e', program], { env: { ...process.env, ...env }, encoding: 'utf8' })
    expect(doctor({})).toMatch(/NVRTC|emulated by/)
    const nowhere = { ANNEAL_CUDA_EMULATE_COMPILER: '/nowhere/c++', ANNEAL_CUDA_LIBRARIES: '' }
    if (/emulated/.test(doctor({}))) expect(doctor(nowhere)).toMatch(/no C\+\+ compiler.*ANNEAL_CUDA_EMULATE_COMPILER/)
  })
})

/** Devices of one kind have kernels of their own, which the folder's entries serve alike. */
describe.skipIf(testDevice === 'cpu' || devices().filter(({ name }) => name.startsWith('cuda')).length < 2)(
  'kernels on disk',
  () => {
    const entries = () => readdirSync(folder).filter(name => name.endsWith('.kernel'))
    /** Runs a function of which no other test has kernels on a GPU, and gives the entries that this adds. */
    async function run(device: string, power: number): Promise<string[]> {
      const before = entries()
      const fn = compile((a: Tensor) => {
        let y = a.exp()
        for (let i = 0; i < power; i++) y = y.mul(a).abs()
        return y
      })
      const a = tensor([0.5, 2, -1]).to(device)
      let expected = a.exp()
      for (let i = 0; i < power; i++) expected = expected.mul(a).abs()
      expect(await fn(a).data()).toEqual(await expected.data())
      return entries().filter(name => !before.includes(name))
    }

    test('serve whoever needs them next', async () => {
      const [added, ...others] = await run('cuda:0', 2)
      expect(others).toEqual([])
      const path = join(folder, added!)
      const content = readFileSync(path)
      utimesSync(path, 1000, 1000)
      expect(await run('cuda:1', 2)).toEqual([])
      expect(readFileSync(path).equals(content)).toBe(true)
      expect(statSync(path).mtimeMs).toBeGreaterThan(1e6) // it was used
    })

    const damages = ['is cut off', 'is empty', 'has a wrong bit', 'says that it is huge']
    test.each<[string, (content: Buffer) => Buffer]>([
      ['is cut off', content => content.subarray(0, content.length / 2)],
      ['is empty', () => Buffer.alloc(0)],
      ['has a wrong bit', content => content.map((byte, i) => (i === content.length - 9 ? byte ^ 4 : byte)) as Buffer],
      ['says that it is huge', content => content.fill(255, 16, 24)],
    ])('are made anew where one %s', async (what, damage) => {
      const power = 3 + damages.indexOf(what)
      const [added] = await run('cuda:0', power)
      const path = join(folder, added!)
      const content = readFileSync(path)
      writeFileSync(path, damage(Buffer.from(content)))
      expect(await run('cuda:1', power)).toEqual([])
      expect(readFileSync(path).length).toBe(content.length)
    })

    test('are not needed: a folder that cannot be', async () => {
      const file = join(folder, 'file')
      writeFileSync(file, '')
      process.env.ANNEAL_CUDA_CACHE = join(file, 'inside')
      try {
        await run('cuda:0', 1)
      } finally {
        process.env.ANNEAL_CUDA_CACHE = folder
      }
    })
  },
)

test('every elementwise operation is tested here or named by another', () => {
  // Functors are shared: what is listed covers cpu/scalar.h but for conversions.
  const rows = new Set(native.schema().map(row => row.name))
  for (const name of [...unary, ...binary]) expect(rows, name).toContain(name)
})
