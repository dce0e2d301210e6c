import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type DType, type Tensor, tensor } from 'anneal'
import { place } from './device'

/** A tensor as test/golden/make.py stores it. */
export interface Stored {
  dtype: DType
  shape: number[]
  /** What `data` is of, where that is narrower. */
  as?: 'float32'
  data: string
}

export type StoredInput = Stored | { list: StoredInput[] } | { number: string } | number | boolean | null

/** One op, called with these inputs, and what PyTorch makes of it. */
export interface GoldenCase {
  op: string
  name: string
  dtype: DType
  inputs: StoredInput[]
  attrs?: Record<string, unknown>
  outputs: Stored[]
  /** Which outputs gradients flow back through. */
  through?: number[]
  /** The gradients of sum(outputs * cotangents) with respect to each floating-point tensor in `inputs`. */
  grads?: (Stored | null)[]
  /** The gradients of sum(grads * cotangents). */
  seconds?: (Stored | null)[]
  /** Whether gradients can be compared with finite differences. */
  differences?: boolean
  views?: boolean
  rtol?: number
  atol?: number
}

/** An input of a call: a tensor, a literal, an absent one, or several. */
export type Input = Tensor | number | boolean | null | Input[]

export type Values = ArrayLike<number | bigint>

const folder = fileURLToPath(new URL('../golden/', import.meta.url))

/** All golden cases by the name of their op. */
export function goldenCases(): Map<string, GoldenCase[]> {
  const cases = new Map<string, GoldenCase[]>()
  for (const file of readdirSync(folder).filter(f => f.endsWith('.json'))) {
    for (const c of JSON.parse(readFileSync(folder + file, 'utf8')) as GoldenCase[]) {
      cases.set(c.op, [...(cases.get(c.op) ?? []), c])
    }
  }
  return cases
}

const arrays = {
  float32: Float32Array,
  float16: Float32Array,
  bfloat16: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  int32: Int32Array,
  int64: BigInt64Array,
} as const

/** The values of a stored tensor, as `data()` gives them. */
export function valuesOf(stored: Stored): Values & ArrayBufferView {
  const bytes = Uint8Array.from(Buffer.from(stored.data, 'base64'))
  const values = new arrays[stored.as ?? stored.dtype](bytes.buffer)
  return stored.as && stored.dtype === 'float64' ? Float64Array.from(values as Float32Array) : values
}

/** A stored tensor on the device under test. */
export function load(stored: Stored): Tensor {
  return place(tensor(valuesOf(stored), { shape: stored.shape, dtype: stored.dtype }))
}

export function loadInput(input: StoredInput): Input {
  if (input === null || typeof input !== 'object') return input
  if ('list' in input) return input.list.map(loadInput)
  if ('number' in input) return Number(input.number)
  return load(input)
}

export function loadAttribute(value: unknown): unknown {
  return value !== null && typeof value === 'object' && 'number' in value ? Number(value.number) : value
}

/** Multiples of 1/16 without a zero, exact in every dtype; the formula of test/golden/make.py. */
export function cotangent(like: Tensor, salt: number): Tensor {
  const values = Float64Array.from({ length: like.size }, (_, i) => (((i * 7 + salt * 5 + 3) % 12) * 2 - 11) / 16)
  return place(tensor(values, { shape: like.shape, dtype: like.dtype }))
}
