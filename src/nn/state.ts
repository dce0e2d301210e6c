import { AnnealError } from '../errors'
import { isPlainObject } from '../objects'
import { Parameter, type Tensor } from '../tensor'
import { needTensor, shown } from './check'
import type { Module } from './module'

/** Puts values into the parameters and buffers of `model`; see `Module.loadStateDict`. */
export function loadState(
  model: Module,
  state: Readonly<Record<string, Tensor>>,
  { strict = true }: { strict?: boolean },
): { missing: string[]; unexpected: string[] } {
  if (!isPlainObject(state)) {
    throw new AnnealError(
      'ERR_VALUE',
      `loadStateDict: expected tensors by name, as stateDict() gives them; got ${shown(state)}`,
    )
  }
  const cells = new Map(Array.from(model.namedCells(), ([name, cell]) => [name, cell]))
  const fitting = new Map([...cells].filter(([name]) => Object.hasOwn(state, name)))
  const unexpected: string[] = []
  for (const name of Object.keys(state)) {
    if (cells.has(name)) continue
    const cell = cellAt(model, name)
    if (cell) fitting.set(name, cell)
    else unexpected.push(name)
  }
  const given = new Set(fitting.values())
  const missing = [...cells].flatMap(([name, cell]) => (given.has(cell) ? [] : [name]))
  if (strict && missing.length + unexpected.length > 0) {
    throw new AnnealError(
      'ERR_VALUE',
      `loadStateDict: names do not match: missing [${missing}], unexpected [${unexpected}]; loadStateDict(state, { strict: false }) loads what fits`,
    )
  }
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

/** The parameter or buffer that `name` leads to, be it the first of its names or not. */
function cellAt(module: Module, name: string): Parameter | undefined {
  for (const [own, part] of module.namedParts()) {
    const isCell = part instanceof Parameter
    if (isCell ? own !== name : !name.startsWith(`${own}.`)) continue
    const cell = isCell ? part : cellAt(part, name.slice(own.length + 1))
    if (cell) return cell
  }
  return undefined
}

/** All names of all parameters and buffers below `module`: a tied one has several. Cycles of modules are gone through once. */
export function* everyName(
  module: Module,
  prefix = '',
  above: readonly Module[] = [],
): Generator<[name: string, cell: Parameter]> {
  for (const [own, part] of module.namedParts()) {
    if (part instanceof Parameter) yield [`${prefix}${own}`, part]
    else if (part !== module && !above.includes(part)) yield* everyName(part, `${prefix}${own}.`, [...above, module])
  }
}
