import type { DType } from '../dtype'

/**
 * The safetensors dtypes that Anneal has, with their names here and the bytes of one element, in the order in which the
 * reference implementation lays out tensors.
 */
const supported: Record<string, { dtype: DType; size: number }> = Object.assign(Object.create(null), {
  I64: { dtype: 'int64', size: 8 },
  F64: { dtype: 'float64', size: 8 },
  F32: { dtype: 'float32', size: 4 },
  I32: { dtype: 'int32', size: 4 },
  BF16: { dtype: 'bfloat16', size: 2 },
  F16: { dtype: 'float16', size: 2 },
  I8: { dtype: 'int8', size: 1 },
  U8: { dtype: 'uint8', size: 1 },
  BOOL: { dtype: 'bool', size: 1 },
})

const names = new Map<DType, string>(Object.entries(supported).map(([name, { dtype }]) => [dtype, name]))

/** What a message lists when a dtype is not among them. */
export const supportedNames = Object.keys(supported).join(', ')

/** The dtype and element size of a safetensors dtype name, or undefined where Anneal has no such dtype. */
export function fromSafetensors(name: string): { dtype: DType; size: number } | undefined {
  return supported[name]
}

/** The safetensors name of a dtype. */
export function toSafetensors(dtype: DType): string | undefined {
  return names.get(dtype)
}

/** Bytes of one element. */
export function itemSize(dtype: DType): number {
  return supported[names.get(dtype) ?? '']?.size ?? 0
}

/** Where tensors of this dtype stand in a file: wide elements first, so that each tensor is aligned to its elements. */
export function layoutRank(dtype: DType): number {
  return [...names.keys()].indexOf(dtype)
}
