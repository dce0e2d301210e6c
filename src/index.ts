export * from './autograd'
export type { TensorLike } from './call'
export { type ArangeOptions, arange } from './creation'
export { type DType, dtypes, type TypedArray } from './dtype'
export { AnnealError, type ErrorCode } from './errors'
export type { FormatOptions } from './format'
export type { IndexItem, Slice } from './indexing'
export {
  emptyCache,
  keep,
  leakReport,
  type MemoryReport,
  memory,
  resetPeakMemory,
  scope,
  setMemoryLimit,
  trackTensors,
} from './lifetime'
export * as losses from './losses'
export * from './ops.generated'
export * from './runtime'
export { type BackwardOptions, Buffer, type NestedArray, Parameter, Tensor, type TensorOptions, tensor } from './tensor'

import './format'
import './indexing'
