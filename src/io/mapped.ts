import { dtypeIndex } from '../dtype'
import { native, throwLast } from '../native'
import { Tensor } from '../tensor'
import type { TensorInfo } from './header'

/**
 * Tensors over the bytes of the file at `path`, mapped into memory: nothing is read before it is used. Each tensor
 * keeps the mapping alive. The file must not be cut short meanwhile; replacing it by another is harmless.
 */
export function mapTensors(path: string, infos: readonly TensorInfo[]): Record<string, Tensor> {
  const handles = native.mapTensors(
    path,
    infos.map(info => info.begin),
    infos.map(info => dtypeIndex(info.dtype)),
    infos.map(info => info.shape),
  )
  if (!handles) throwLast()
  return Object.fromEntries(infos.map(({ name }, i) => [name, new Tensor(handles[i] as number)]))
}
