import { type DType, dtypeIndex } from './dtype'
import { AnnealError } from './errors'
import { currentMode, modeBits } from './mode'
import { native, scratch, throwLast } from './native'
import { Tensor } from './tensor'

/** What ops take as input: number and boolean literals do not change the dtype of tensors beside them. */
export type TensorLike = Tensor | number | boolean

const absent = -1
const numberLiteral = -2
const booleanLiteral = -3

let mode = currentMode() // of the call that has begun: it is looked up once

/** Starts a call; gives the place of the first input. */
export function begin(): number {
  mode = currentMode()
  return 1
}

/** Throws ERR_VALUE: says what was expected instead of `value`, and what to do. */
function refuse(expected: string, value: unknown, hint: string): never {
  let shown = value === null ? 'null' : typeof value
  if (Array.isArray(value)) shown = 'an array'
  else if (value instanceof Tensor) shown = 'a Tensor'
  else if (value instanceof Promise) shown = 'a promise'
  const action = value instanceof Promise ? 'Await it first; a function that is called here must not be async' : hint
  throw new AnnealError('ERR_VALUE', `${expected}; got ${shown}. ${action}`)
}

const makeOne = 'Use tensor() to make one'

function notATensor(value: unknown): never {
  refuse('expected a Tensor, a number or a boolean as input', value, makeOne)
}

/** `value`, which is to be a tensor; `what` it is and a `hint` at what to do are for the message. */
export function expectTensor(value: unknown, what: string, hint = makeOne): Tensor {
  return value instanceof Tensor ? value : refuse(`${what}: expected a Tensor`, value, hint)
}

/** The handle of what is to be a tensor or left out; see {@link expectTensor}. */
export function handleOrAbsent(value: unknown, what: string, hint?: string): number {
  return value === undefined || value === null ? absent : expectTensor(value, what, hint).handle
}

/** `value`, which is to be a list. */
export function expectList<T>(value: readonly T[], what: string): readonly T[] {
  return Array.isArray(value) ? value : refuse(`${what}: expected a list`, value, 'Put it into [ ]')
}

/** `value`, which is to be a list of tensors. */
export function expectTensors(value: readonly Tensor[], what: string): readonly Tensor[] {
  return expectList(value, what).map((t, i) => expectTensor(t, `${what}[${i}]`))
}

export function putInput(p: number, value: TensorLike): number {
  if (value instanceof Tensor) {
    scratch[p] = value.handle
    return p + 1
  }
  if (typeof value === 'number') scratch[p] = numberLiteral
  else if (typeof value === 'boolean') scratch[p] = booleanLiteral
  else notATensor(value)
  scratch[p + 1] = Number(value)
  return p + 2
}

export function putOptional(p: number, value: TensorLike | undefined | null): number {
  if (value !== undefined && value !== null) return putInput(p, value)
  scratch[p] = absent
  return p + 1
}

function checkRoom(count: number) {
  if (count > scratch.length - 1024) {
    throw new AnnealError(
      'ERR_VALUE',
      `a call takes at most ${scratch.length - 1024} tensors and numbers; got ${count}`,
    )
  }
}

export function putInputs(p: number, values: readonly TensorLike[]): number {
  if (!Array.isArray(values)) notATensor(values)
  checkRoom(p + 2 * values.length)
  scratch[p] = values.length
  let next = p + 1
  for (const value of values) next = putInput(next, value)
  return next
}

export function putNumber(p: number, value: number | undefined): number {
  if (value === undefined) return skip(p)
  if (typeof value !== 'number') throw new AnnealError('ERR_VALUE', `expected a number; got ${typeof value}`)
  scratch[p] = 1
  scratch[p + 1] = value
  return p + 2
}

export function putBoolean(p: number, value: boolean | undefined): number {
  if (value === undefined) return skip(p)
  scratch[p] = 1
  scratch[p + 1] = value ? 1 : 0
  return p + 2
}

export function putDType(p: number, value: DType | undefined): number {
  if (value === undefined) return skip(p)
  scratch[p] = 1
  scratch[p + 1] = dtypeIndex(value)
  return p + 2
}

export function putChoice(p: number, value: string | undefined, choices: readonly string[]): number {
  if (value === undefined) return skip(p)
  const index = choices.indexOf(value)
  if (index < 0) throw new AnnealError('ERR_VALUE', `expected one of ${choices.join(', ')}; got '${String(value)}'`)
  scratch[p] = 1
  scratch[p + 1] = index
  return p + 2
}

/** A list of numbers; one number stands for a list of one. */
export function putNumbers(p: number, value: readonly number[] | number | undefined): number {
  if (value === undefined) return skip(p)
  const list = typeof value === 'number' ? [value] : value
  if (!Array.isArray(list))
    throw new AnnealError('ERR_VALUE', `expected a number or a list of numbers; got ${typeof value}`)
  checkRoom(p + list.length)
  scratch[p] = 1
  scratch[p + 1] = list.length
  for (let i = 0; i < list.length; i++) scratch[p + 2 + i] = list[i]!
  return p + 2 + list.length
}

export function putText(p: number, value: string | undefined): number {
  if (value === undefined) return skip(p)
  checkRoom(p + value.length)
  scratch[p] = 1
  scratch[p + 1] = value.length
  for (let i = 0; i < value.length; i++) scratch[p + 2 + i] = value.charCodeAt(i)
  return p + 2 + value.length
}

function skip(p: number): number {
  scratch[p] = 0
  return p + 1
}

/** Runs op number `id`, whose inputs and attributes have been put; gives its only output. */
export function run(id: number): Tensor {
  call(id)
  return new Tensor(scratch[1]!, mode)
}

/** Runs an op with several outputs. */
export function runAll(id: number): Tensor[] {
  return resultsOf(call(id))
}

/** Gives the number of outputs, whose handles follow in `scratch`. */
function call(id: number): number {
  scratch[0] = 16 * id + modeBits(mode)
  native.call()
  const count = scratch[0]!
  if (count < 0) throwLast()
  return count
}

/** Describes the tensor behind `handle`. */
export function describe(handle: number): { dtype: number; requiresGrad: boolean; shape: number[] } {
  if (!native.describe(handle)) throwLast()
  const shape = Array.from(scratch.subarray(3, 3 + scratch[1]!))
  return { dtype: scratch[0]!, requiresGrad: scratch[2] === 1, shape }
}

/** Leaves a shape for a native function that reads one. */
export function putShape(shape: readonly number[]): void {
  scratch[0] = shape.length
  for (let i = 0; i < shape.length; i++) scratch[i + 1] = shape[i]!
}

/** Leaves the arguments of a program and the numbers that change between its runs. */
export function putCall(tensors: readonly Tensor[], numbers: readonly number[]): void {
  checkRoom(tensors.length + numbers.length)
  scratch[0] = tensors.length
  let p = 1
  for (const t of tensors) scratch[p++] = t.handle
  for (const n of numbers) scratch[p++] = n
}

/** The tensors that a native call left after their `count`. */
export function resultsOf(count: number): Tensor[] {
  if (count < 0) throwLast()
  const inMode = currentMode()
  return Array.from({ length: count }, (_, i) => new Tensor(scratch[i + 1]!, inMode))
}

/**
 * Makes `value`, which was computed for it and is used up, the value of `cell`. Where the computation fails, or its data have a
 * mistake, the cell keeps the old one.
 */
export function give(cell: Tensor, value: Tensor): void {
  if (!native.assign(cell.handle, value.handle, false, true)) throwLast()
}
