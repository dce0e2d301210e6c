export { type AllReduceOptions, allReduce } from './allreduce'
export { type AutocastOptions, autocast } from './autocast'
export * from './autograd'
export type { TensorLike } from './call'
export { checkpoint } from './checkpoint'
export { type CompiledFunction, type CompileOptions, compile, type Explanation } from './compile'
export { type ArangeOptions, arange, type TensorOptions, tensor } from './creation'
export * as data from './data'
export { type DeviceInfo, type DeviceName, devices, getDevice, setDevice } from './device'
export { type Diagnosis, diagnose as doctor } from './doctor'
export { type DType, dtypes, type TypedArray } from './dtype'
export { AnnealError, type ErrorCode } from './errors'
export type { FormatOptions } from './format'
export type { IndexItem, Slice } from './indexing'
export * as io from './io'
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
export * as metrics from './metrics'
export * as nn from './nn'
export * from './ops.generated'
export * as optim from './optim'
export * from './runtime'
export { type BackwardOptions, Buffer, type NestedArray, Parameter, Tensor } from './tensor'
export * as train from './train'
export { type Unique, unique } from './unique'

import './format'
import './indexing'
