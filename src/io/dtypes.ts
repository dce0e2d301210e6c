import type { DType } from '../dtype'

/** The safetensors dtypes that Anneal has, in the order in which the reference implementation lays out tensors. */
const supported: Record<string, DType> = Object.assign(Object.create(null), {
  I64: 'int64',
  F64: 'float64',
  F32: 'float32',
  I32: 'int32',
  BF16: 'bfloat16',
  F16: 'float16',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'bool',
})

const names = new Map(Object.entries(supported).map(([name, dtype]) => [dtype, name]))

/** What a message lists when a dtype is not among them. */
export const supportedNames = Object.keys(supported).join(', ')

/** The dtype of a safetensors dtype name, or undefined where Anneal has no such dtype. */
export function fromSafetensors(name: string): DType | undefined {
  return supported[name]
}

/** The safetensors name of a dtype. */
export function toSafetensors(dtype: DType): string | undefined {
  return names.get(dtype)
}

/** Where tensors of this dtype stand in a file: wide elements first, so that each tensor is aligned to its elements. */
export function layoutRank(dtype: DType): number {
  return [...names.keys()].indexOf(dtype)
}
