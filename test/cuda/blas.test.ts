// What is asked of cuBLASLt: the emulator's takes the same descriptions, and refuses what NVIDIA's documentation forbids.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { autocast, compile, type DType, linear, manualSeed, nn, randomNormal, type Tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { native } from '../../src/native'
import { emulated } from '../support/device'
import { flat } from '../support/values'
import type { Fn } from './captured'
import { inputsOf, summed, ways } from './sums'

const folder = join(dirname(process.env.ANNEAL_CUDA_PATH ?? ''), 'blas')
const there = emulated && existsSync(folder)
if (there) process.env.ANNEAL_CUDA_LIBRARIES = folder // before the library is asked for

const tolerances: Partial<Record<DType, number>> = { float64: 1e-12, float32: 1e-5, float16: 4e-3, bfloat16: 3e-2 }

/** That `values` are those of `expected`, as far as the dtype tells. */
async function close(result: Tensor, expected: Tensor, dtype: DType) {
  const [found, wanted] = [await flat(result), await flat(expected)]
  const largest = Math.max(1, ...wanted.map(Math.abs))
  for (const [i, value] of wanted.entries())
    expect(Math.abs(found[i]! - value)).toBeLessThanOrEqual(tolerances[dtype]! * largest)
}

describe.runIf(there)('products by cuBLASLt', () => {
  test('it is found', () => {
    expect(native.doctorCuda().cuBLASLt).toMatch(/^99/)
  })

  const products: Record<string, (a: Tensor, b: Tensor) => [Tensor, Tensor]> = {
    'as they lie': (a, b) => [a, b],
    'of a transposed left factor': (a, b) => [a.transpose(-1, -2).contiguous().transpose(-1, -2), b],
    'of a transposed right factor': (a, b) => [a, b.transpose(-1, -2).contiguous().transpose(-1, -2)],
    'of two transposed factors': (a, b) => [
      a.transpose(-1, -2).contiguous().transpose(-1, -2),
      b.transpose(-1, -2).contiguous().transpose(-1, -2),
    ],
    'of views that are not aligned': (a, b) => [a.narrow(-1, 1, 15), b.narrow(-2, 1, 15)],
    'of factors with gaps': (a, b) => [a.narrow(-2, 1, 3), b.narrow(-1, 3, 7)],
  }
  const shapes: [number[], number[]][] = [
    [
      [5, 16],
      [16, 24],
    ],
    [
      [3, 4, 5, 16],
      [16, 24],
    ],
    [
      [3, 4, 5, 16],
      [3, 4, 16, 24],
    ],
    [
      [4, 5, 16],
      [3, 4, 16, 24],
    ],
  ]
  test.each(Object.entries(products))('%s', async (_, given) => {
    manualSeed(5)
    for (const dtype of Object.keys(tolerances) as DType[]) {
      for (const [left, right] of shapes) {
        const [a, b] = given(randomNormal(left).cast(dtype), randomNormal(right).cast(dtype))
        await close(a.matmul(b), a.to('cpu').matmul(b.to('cpu')), dtype)
      }
    }
  })

  test('with biases and what follows them, in captured functions, and with their gradients', async () => {
    manualSeed(6)
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const layer = new nn.Linear(16, 24).to(dtype)
      const x = randomNormal([32, 16]).cast(dtype)
      const other = randomNormal([32, 24]).cast(dtype)
      const functions: ((x: Tensor) => Tensor)[] = [
        x => layer.forward(x).relu(),
        x => layer.forward(x).add(other),
        x => layer.forward(x).add(other).relu(),
        x => layer.forward(x).gelu({ approximate: 'tanh' }),
      ]
      for (const fn of functions) {
        const step = (x: Tensor) => {
          const y = fn(x)
          y.square().sum().backward()
          const gradients = layer.parameters().map(({ grad }) => grad!)
          for (const parameter of layer.parameters()) parameter.grad = undefined
          return [y, ...gradients]
        }
        const expected = step(x)
        const run = compile(step)
        for (let i = 0; i < 3; i++) for (const [k, result] of run(x).entries()) await close(result, expected[k]!, dtype)
      }
    }
  })

  test.each(['bfloat16', 'float16', 'float32'] as const)('with the sums of a factor: %s', async dtype => {
    manualSeed(8)
    for (const fn of Object.values(ways)) expect(await summed(fn, inputsOf(dtype))).toEqual(['matmul sum'])
    const unaligned: Fn = (a, b) => [a.transpose(0, 1).matmul(b.slice([0, 1], [260, 18])), a.sum({ axis: 0 })]
    expect(await summed(unaligned, inputsOf(dtype))).toEqual(['matmul sum'])
  })

  test('of factors in 8 bits', async () => {
    manualSeed(7)
    const [x, weight, bias] = [randomNormal([5, 32]), randomNormal([48, 32]), randomNormal([48])]
    const result = autocast(() => linear(x, weight, bias), { dtype: 'bfloat16', fp8: true }).cast('float32')
    const expected = await flat(linear(x, weight, bias))
    const largest = Math.max(...expected.map(Math.abs))
    for (const [i, value] of (await flat(result)).entries())
      expect(Math.abs(value - expected[i]!)).toBeLessThan(0.1 * largest)
  })

  test('what it proposes ways for, and then refuses, is made by slower kernels', async () => {
    const at = () => native.doctorCuda().cuBLASLt
    expect(at()).not.toContain('refused') // of all that was asked for before
    manualSeed(6)
    for (const [rows, columns] of [
      [3, 4],
      [300, 200], // large enough to be timed first
    ] as const) {
      const [a, b] = [randomNormal([rows, 1031]), randomNormal([1031, columns])]
      await close(a.matmul(b), a.to('cpu').matmul(b.to('cpu')), 'float32')
    }
    expect(at()).toContain('; it has refused 2 kinds of products, which slower kernels make')
  })
})
