import { isObject } from '../objects'
import { Tensor } from '../tensor'
import type { Bundle, Examples } from './types'

/** The data and the options that `fit` and `evaluate` were called with: `(x, y, options)` or `(data, options)`. */
export function examplesOf<O extends object>(first: Bundle | Examples, second?: Bundle | O, third?: O): [Examples, O] {
  if (third !== undefined || isBundle(second)) return [[first as Bundle, second as Bundle], third ?? ({} as O)]
  return [first as Examples, (second as O | undefined) ?? ({} as O)]
}

function isBundle(value: unknown): value is Bundle {
  return (
    value instanceof Tensor ||
    (Array.isArray(value) && value[0] instanceof Tensor) ||
    (isObject(value) && Object.values(value)[0] instanceof Tensor)
  )
}
