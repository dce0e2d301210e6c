import { native } from '../native'
import { type DType, Tensor } from '../tensor'
import type { TensorInfo } from './header'

// The order of the core's DType (native/core/dtype.h).
const dtypes: readonly DType[] = [
  'float32',
  'float64',
  'float16',
  'bfloat16',
  'int8',
  'uint8',
  'int32',
  'int64',
  'bool',
]

/**
 * Tensors over the bytes of the file at `path`, mapped into memory: nothing is read before it is used. Each tensor
 * keeps the mapping alive. The file must not be changed in place meanwhile; replacing it is harmless.
 */
export function mapTensors(path: string, infos: readonly TensorInfo[]): Record<string, Tensor> {
  const file = native.mapFile(path)
  try {
    const entries = infos.map(({ name, dtype, shape, begin }) => {
      return [name, new Tensor(native.mappedTensor(file, begin, dtypes.indexOf(dtype), shape))] as const
    })
    return Object.fromEntries(entries)
  } finally {
    native.unmapFile(file)
  }
}
