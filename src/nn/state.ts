import { AnnealError } from '../errors'
import { isPlainObject } from '../objects'
import type { Parameter, Tensor } from '../tensor'
import { needTensor, shown } from './check'

/** Gives `cells` the values that `state` has for them, if all fit; see `Module.loadStateDict`. */
export function loadState(
  cells: ReadonlyMap<string, Parameter>,
  state: Readonly<Record<string, Tensor>>,
  strict: boolean,
): { missing: string[]; unexpected: string[] } {
  if (!isPlainObject(state)) {
    throw new AnnealError(
      'ERR_VALUE',
      `loadStateDict: expected tensors by name, as stateDict() gives them; got ${shown(state)}`,
    )
  }
  const missing = [...cells.keys()].filter(name => !(name in state))
  const unexpected = Object.keys(state).filter(name => !cells.has(name))
  if (strict && missing.length + unexpected.length > 0) {
    throw new AnnealError(
      'ERR_VALUE',
      `loadStateDict: names do not match: missing [${missing}], unexpected [${unexpected}]; pass { strict: false } to load what fits`,
    )
  }
  const fitting = [...cells].filter(([name]) => name in state)
  for (const [name, cell] of fitting) {
    const value = state[name]
    needTensor(`loadStateDict: ${name}`, value)
    const { shape } = value
    if (`${shape}` !== `${cell.shape}`) {
      throw new AnnealError('ERR_SHAPE', `loadStateDict: ${name}: expected shape [${cell.shape}]; got [${shape}]`)
    }
  }
  for (const [name, cell] of fitting) {
    const value = state[name]!
    cell.assign(value.dtype === cell.dtype ? value : value.cast(cell.dtype))
  }
  return { missing, unexpected }
}
