import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type DType, doctor, manualSeed, scaledDotProductAttention, type Tensor, tensor } from 'anneal'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { emulated, place, testDevice } from '../support/device'

/** Numbers that are exact in every float dtype. */
function numbers(shape: number[], salt: number): Float32Array {
  const size = shape.reduce((n, d) => n * d, 1)
  return Float32Array.from({ length: size }, (_, i) => Math.round(Math.sin(i * i * 0.37 + salt + i) * 48) / 32)
}
const values = (shape: number[], salt: number) => place(tensor(numbers(shape, salt), { shape }))

interface Case {
  q: number[]
  kv: number[]
  width?: number
  mask?: Tensor
  options?: { causal?: boolean; scale?: number; dropoutP?: number }
  turned?: boolean // [B, T, H, D] in memory, the result's gradient too
  summed?: boolean // the result's gradient is 1 everywhere
}

async function run(c: Case, dtype: DType): Promise<number[][]> {
  const shapeOfV = [...c.kv.slice(0, 3), c.width ?? c.kv[3]!]
  const [q, k, v] = [c.q, c.kv, shapeOfV].map((shape, i) => {
    const stored = c.turned ? [shape[0]!, shape[2]!, shape[1]!, shape[3]!] : shape
    return values(stored, i + 1)
      .cast(dtype)
      .requireGrad()
  }) as [Tensor, Tensor, Tensor]
  const heads = (t: Tensor) => (c.turned ? t.permute([0, 2, 1, 3]) : t)
  const mask = c.mask && c.mask.dtype !== 'bool' ? c.mask.cast(dtype) : c.mask
  manualSeed(21) // the same weights are dropped each time
  const y = scaledDotProductAttention(heads(q), heads(k), heads(v), mask, c.options)
  expect(y.dtype).toBe(dtype)
  const z = heads(y)
  const weighted = c.summed ? z : z.mul(values([...z.shape], 9).cast(dtype))
  weighted.sum().backward()
  return Promise.all([y, q.grad!, k.grad!, v.grad!].map(async t => Array.from(await t.data(), Number)))
}

const precision = { bfloat16: 2 ** -8, float16: 2 ** -11 } // half a unit in the last place, of numbers below 2

/** 16-bit attention against the plain formula in float64: weights and results are rounded to 16 bits. */
async function compare(c: Case) {
  // cuDNN may round the gradients of heads that share keys before it adds them up.
  const slack = process.env.ANNEAL_CUDA_ATTENTION === 'cudnn' ? 5 : 2.5
  const plain = await run(c, 'float64')
  for (const dtype of ['bfloat16', 'float16'] as const) {
    const got = await run(c, dtype)
    got.forEach((list, i) => {
      const scale = Math.max(0.1, ...plain[i]!.map(Math.abs))
      const worst = list.reduce((most, value, j) => Math.max(most, Math.abs(value - plain[i]![j]!)), 0)
      expect(list.every(Number.isFinite), `${dtype} ${['result', 'dq', 'dk', 'dv'][i]} is finite`).toBe(true)
      expect(worst / scale, `${dtype} ${['result', 'dq', 'dk', 'dv'][i]}`).toBeLessThan(slack * precision[dtype])
    })
  }
}

/** The emulator's own cuDNN, before the library is asked for. */
const folder = join(dirname(process.env.ANNEAL_CUDA_PATH ?? ''), 'dnn')
if (emulated && existsSync(folder)) process.env.ANNEAL_CUDA_LIBRARIES = folder

/** The instructions, or the library, that a GPU's attention is made of; there wgmma needs compute capability 9.0. */
const ways = testDevice === 'cuda' ? ['mma', 'wgmma', 'cudnn'] : ['']

describe.each(ways)('%s', way => {
  beforeAll(() => {
    if (way) process.env.ANNEAL_CUDA_ATTENTION = way
  })
  afterAll(() => {
    delete process.env.ANNEAL_CUDA_ATTENTION
  })

  describe('attention of 16-bit heads agrees with the plain formula', () => {
    test('tiles that are not full', () => compare({ q: [1, 2, 133, 64], kv: [1, 2, 77, 64] }))
    test('causal, over several tiles', () =>
      compare({ q: [1, 1, 200, 64], kv: [1, 1, 200, 64], options: { causal: true } }))
    test('causal with fewer queries than keys', () =>
      compare({ q: [1, 1, 40, 32], kv: [1, 1, 150, 32], options: { causal: true } }))
    test('causal with more queries than keys', () =>
      compare({ q: [1, 1, 150, 32], kv: [1, 1, 40, 32], options: { causal: true } }))
    test('many keys', async () => {
      await compare({ q: [1, 1, 70, 64], kv: [1, 1, 530, 64] })
      await compare({ q: [1, 1, 20, 128], kv: [1, 1, 390, 128] })
    })
    test('heads of 128', () => compare({ q: [1, 1, 70, 128], kv: [1, 1, 90, 128], options: { causal: true } }))
    test('depths between: 80 and 104', () => compare({ q: [1, 1, 35, 80], kv: [1, 1, 70, 80], width: 104 }))
    test('depths between: 24 and 8', () => compare({ q: [1, 1, 35, 24], kv: [1, 1, 70, 24], width: 8 }))
    test('a depth that is no multiple of 8', () => compare({ q: [1, 1, 35, 12], kv: [1, 1, 70, 12] }))
    test('a depth of 136', () => compare({ q: [1, 1, 20, 136], kv: [1, 1, 90, 136] }))
    test('grouped heads in several batches', () =>
      compare({ q: [2, 6, 45, 64], kv: [2, 2, 37, 64], options: { causal: true } }))
    test('one query and one key', () => compare({ q: [2, 1, 1, 64], kv: [2, 1, 1, 64] }))
    test('one query', () => compare({ q: [1, 2, 1, 64], kv: [1, 1, 300, 64] }))
    test('scales of any sign', async () => {
      await compare({ q: [1, 1, 20, 64], kv: [1, 1, 20, 64], options: { scale: -0.1 } })
      await compare({ q: [1, 1, 20, 64], kv: [1, 1, 20, 64], options: { scale: 0 } })
    })
    test('views of [B, T, H, D]', () =>
      compare({ q: [2, 3, 20, 64], kv: [2, 3, 20, 64], turned: true, options: { causal: true } }))
    test('views of depths that tensor cores do not take', () =>
      compare({ q: [2, 4, 20, 12], kv: [2, 2, 30, 12], width: 20, turned: true }))
    test('a gradient that is the same everywhere', () =>
      compare({ q: [2, 2, 20, 64], kv: [2, 2, 70, 64], summed: true }))
  })

  describe('masks', () => {
    const shapes = { q: [2, 2, 70, 64], kv: [2, 1, 150, 64] }

    test('bool', () => compare({ ...shapes, mask: values([2, 1, 70, 150], 4).greater(-0.5) }))
    test('bool and causal, with heads of 128', () =>
      compare({
        q: [1, 2, 70, 128],
        kv: [1, 2, 70, 128],
        mask: values([2, 70, 70], 4).greater(-0.5),
        options: { causal: true },
      }))
    test('floats that are added', () => compare({ ...shapes, mask: values([70, 150], 4), options: { causal: true } }))
    test('lengths: keys from 100 on and before 30 take no part', () => {
      const at = place(tensor(Float32Array.from({ length: 150 }, (_, i) => i)))
      const lengths = place(tensor([100, 37], { dtype: 'float32' })).reshape([2, 1, 1, 1])
      return compare({ ...shapes, mask: at.less(lengths).logicalAnd(at.greaterEqual(30)) })
    })
  })

  test.each([[0.1], [0.5]])('dropout of %s', async dropoutP => {
    await compare({ q: [2, 2, 70, 64], kv: [2, 1, 150, 64], options: { dropoutP } })
    await compare({ q: [1, 2, 70, 128], kv: [1, 2, 77, 128], options: { dropoutP, causal: true } })
    await compare({ q: [1, 2, 33, 12], kv: [1, 2, 70, 12], options: { dropoutP } })
    const mask = values([2, 1, 20, 70], 4).greater(-0.5)
    await compare({ q: [2, 2, 20, 64], kv: [2, 2, 70, 64], mask, options: { dropoutP } })
  })

  test('a query that sees no key gives zeros, and no gradient', async () => {
    const allowed = Uint8Array.from({ length: 3 * 70 }, (_, i) => Number(i < 70 || i >= 140))
    const bool = place(tensor(allowed, { shape: [3, 70] }).cast('bool'))
    const added = place(
      tensor(
        Float32Array.from(allowed, a => (a ? 0 : Number.NEGATIVE_INFINITY)),
        { shape: [3, 70] },
      ),
    )
    const none = place(tensor(new Uint8Array(70), { shape: [1, 70] }).cast('bool'))
    for (const mask of [bool, added, none]) {
      const [y, dq, dk, dv] = await run({ q: [1, 1, 3, 64], kv: [1, 1, 70, 64], mask }, 'bfloat16')
      const seen = mask === none ? [] : [0, 2]
      for (let row = 0; row < 3; row++) {
        for (const list of [y!, dq!]) {
          const part = list.slice(row * 64, row * 64 + 64)
          expect(part.every(Number.isFinite)).toBe(true)
          expect(part.some(v => v !== 0)).toBe(seen.includes(row))
        }
      }
      for (const list of [dk!, dv!]) expect(list.some(v => v !== 0)).toBe(mask !== none)
    }
  })

  test('results and gradients are the same in every run', async () => {
    const time = emulated ? 70 : 1000
    const c: Case = { q: [2, 4, time, 64], kv: [2, 2, time, 64], turned: true, options: { causal: true } }
    const first = await run(c, 'bfloat16')
    for (let i = 0; i < 3; i++) expect(await run(c, 'bfloat16')).toEqual(first)
  })

  test('NaN stays in its row', async () => {
    const data = numbers([1, 1, 40, 64], 1)
    data[64 * 17] = Number.NaN
    const q = place(tensor(data, { shape: [1, 1, 40, 64] })).cast('float16')
    const kv = values([1, 1, 40, 64], 2).cast('float16')
    const y = Array.from(await scaledDotProductAttention(q, kv, kv).data(), Number)
    expect(y.map(v => Number.isNaN(v))).toEqual(y.map((_, i) => Math.floor(i / 64) === 17))
  })

  test('scores in the thousands do not overflow', async () => {
    const q = values([1, 1, 20, 64], 1).mul(40).cast('bfloat16')
    const k = values([1, 1, 90, 64], 2).mul(40).cast('bfloat16')
    const y = await scaledDotProductAttention(q, k, values([1, 1, 90, 64], 3).cast('bfloat16')).data()
    expect(Array.from(y, Number).every(v => Math.abs(v) <= 1.5)).toBe(true)
  })

  test('no queries or no keys', async () => {
    const zeros = (...shape: number[]) =>
      place(tensor(new Float32Array(shape.reduce((n, d) => n * d, 1)), { shape })).cast('bfloat16')
    expect(scaledDotProductAttention(zeros(1, 2, 0, 64), zeros(1, 2, 3, 64), zeros(1, 2, 3, 64)).shape).toEqual([
      1, 2, 0, 64,
    ])
    const y = scaledDotProductAttention(zeros(1, 1, 2, 64), zeros(1, 1, 0, 64), zeros(1, 1, 0, 8))
    expect(Array.from(await y.data(), Number)).toEqual(new Array(16).fill(0))
  })
})

test.runIf(emulated)('what is computed by wgmma was compared with mma.sync', async () => {
  for (const dtype of ['bfloat16', 'float16'] as const)
    for (const depth of [64, 128])
      for (const scale of [1, -1]) {
        const x = values([1, 1, 8, depth], 1).cast(dtype).requireGrad()
        scaledDotProductAttention(x, x, x, undefined, { scale }).sum().backward()
        await x.grad!.data()
      }
  const facts = doctor().facts.CUDA
  const all = 'attention: kinds of kernels that give by wgmma what they give by mma.sync: 16 of 16; '
  expect(facts).toContainEqual(expect.stringContaining(all))
})
