import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compile, type DType, manualSeed, type Tensor, tensor } from 'anneal'
import { afterAll, beforeAll, expect } from 'vitest'
import { testDevice } from '../support/device'

/** A folder of its own for the kernels that the file's tests have compiled. */
export function ownKernels(): string {
  const folder = mkdtempSync(join(tmpdir(), 'anneal-kernels-'))
  const cache = process.env.ANNEAL_CUDA_CACHE
  beforeAll(() => {
    process.env.ANNEAL_CUDA_CACHE = folder
  })
  afterAll(() => {
    if (cache === undefined) delete process.env.ANNEAL_CUDA_CACHE
    else process.env.ANNEAL_CUDA_CACHE = cache
    rmSync(folder, { recursive: true })
  })
  return folder
}

export type Fn = (...inputs: Tensor[]) => Tensor[]
export const valuesOf = (tensors: Tensor[]) => Promise.all(tensors.map(t => t.data()))

/** What the captured function's joined operations are, after checking that it gives what the calls one by one give: every NaN is alike. */
export async function joined(fn: Fn, inputs: Tensor[]): Promise<string[]> {
  manualSeed(5)
  const expected = await valuesOf(fn(...inputs))
  const run = compile(fn)
  for (let i = 0; i < 2; i++) {
    manualSeed(5)
    const found = await valuesOf(run(...inputs))
    for (const [k, values] of expected.entries()) expect(found[k], `output ${k}`).toEqual(values)
  }
  const { operations } = await run.explain(...inputs)
  return operations.filter(({ name }) => name.startsWith('fused')).map(({ attributes }) => attributes)
}

/** Rows of numbers between -3 and 3 on the device that is tested, the same at every call; `turn` gives others. */
export const matrix = (dtype: DType, rows: number, width: number, turn = 1) => {
  const data = Float64Array.from({ length: rows * width }, (_, i) => Math.sin(i * 1.7 * turn) * 3)
  return tensor(data, { shape: [rows, width] })
    .cast(dtype)
    .to(testDevice)
}

/** For `test.each`. */
export const floats: [DType][] = [['float32'], ['float64'], ['float16'], ['bfloat16']]

/** Floats and integers that are special somewhere. */
export const special = [0, -0, 1, -1, 0.5, -2.5, Number.NaN, Infinity, -Infinity, 3e38, 1e-40, 88, -104, 1e6, 7, -7, 2]
export const whole = [0, 1, -1, 2, -2, 3, 7, -7, 100, -128, 127, 31, 5, 64, 33, -3, 12]
