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

const makeOne = 'Use tensor() to make one'

/** What a value is, for messages. */
function kindOf(value: unknown): string {
  if (value instanceof Tensor) return 'a Tensor'
  if (value instanceof Promise) return 'a promise'
  if (value === null || value === undefined) return String(value)
  const kind = Array.isArray(value) ? 'array' : typeof value
  return `${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind}`
}

/** Throws ERR_VALUE: says what was expected of `where` instead of `value`, and what to do. */
function refuse(where: string, expected: string, value: unknown, hint = ''): never {
  const action = value instanceof Promise ? 'Await it first; a function that is called here must not be async' : hint
  throw new AnnealError('ERR_VALUE', `${where}: expected ${expected}; got ${kindOf(value)}${action && `. ${action}`}`)
}

/** `value`, which is to be a tensor; `what` it is and a `hint` at what to do are for the message. */
export function expectTensor(value: unknown, what: string, hint = makeOne): Tensor {
  return value instanceof Tensor ? value : refuse(what, 'a Tensor', value, hint)
}

/** The handle of what is to be a tensor or left out; see {@link expectTensor}. */
export function handleOrAbsent(value: unknown, what: string, hint?: string): number {
  return value === undefined || value === null ? absent : expectTensor(value, what, hint).handle
}

/** `value`, which is to be a list. */
export function expectList<T>(value: readonly T[], what: string): readonly T[] {
  return Array.isArray(value) ? value : refuse(what, 'a list', value, 'Put it into [ ]')
}

/** `value`, which is to be a list of tensors. */
export function expectTensors(value: readonly Tensor[], what: string): readonly Tensor[] {
  return expectList(value, what).map((t, i) => expectTensor(t, `${what}[${i}]`))
}

/** Checks the options of the op `name`, all of which may be absent. */
export function checkOptions(name: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || Array.isArray(options) || options instanceof Tensor)
    refuse(name, `options as an object with any of ${known.join(', ')}`, options)
  for (const key in options) {
    if (known.includes(key)) continue
    throw new AnnealError('ERR_VALUE', `${name}: unknown option '${key}'; expected any of ${known.join(', ')}`)
  }
}

// `where` is the name of an op and of one of its arguments: messages begin with it.

export function putInput(p: number, value: TensorLike, where: string): number {
  if (value instanceof Tensor) {
    scratch[p] = value.handle
    return p + 1
  }
  if (typeof value === 'number') scratch[p] = numberLiteral
  else if (typeof value === 'boolean') scratch[p] = booleanLiteral
  else refuse(where, 'a Tensor, a number or a boolean', value, makeOne)
  scratch[p + 1] = Number(value)
  return p + 2
}

export function putOptional(p: number, value: TensorLike | undefined | null, where: string): number {
  if (value !== undefined && value !== null) return putInput(p, value, where)
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

export function putInputs(p: number, values: readonly TensorLike[], where: string): number {
  if (!Array.isArray(values)) refuse(where, 'a list of tensors', values)
  checkRoom(p + 2 * values.length)
  scratch[p] = values.length
  let next = p + 1
  for (const value of values) next = putInput(next, value, where)
  return next
}

export function putNumber(p: number, value: number | undefined, where: string): number {
  if (value === undefined) return skip(p)
  if (typeof value !== 'number') refuse(where, 'a number', value)
  scratch[p] = 1
  scratch[p + 1] = value
  return p + 2
}

export function putBoolean(p: number, value: boolean | undefined, where: string): number {
  if (value === undefined) return skip(p)
  if (typeof value !== 'boolean') refuse(where, 'a boolean', value)
  scratch[p] = 1
  scratch[p + 1] = value ? 1 : 0
  return p + 2
}

export function putDType(p: number, value: DType | undefined, where: string): number {
  if (value === undefined) return skip(p)
  scratch[p] = 1
  scratch[p + 1] = dtypeIndex(value, where)
  return p + 2
}

export function putChoice(p: number, value: string | undefined, choices: readonly string[], where: string): number {
  if (value === undefined) return skip(p)
  const index = choices.indexOf(value)
  if (index < 0) {
    const got = typeof value === 'string' ? `'${value}'` : kindOf(value)
    throw new AnnealError('ERR_VALUE', `${where}: expected one of ${choices.join(', ')}; got ${got}`)
  }
  scratch[p] = 1
  scratch[p + 1] = index
  return p + 2
}

/** Leaves the length of `list` and its numbers. */
function putList(p: number, list: readonly number[], where: string, expected: string): number {
  if (!Array.isArray(list)) refuse(where, expected, list)
  checkRoom(p + list.length)
  scratch[p] = list.length
  for (let i = 0; i < list.length; i++) {
    const value = list[i]!
    if (typeof value !== 'number') {
      throw new AnnealError('ERR_VALUE', `${where}: expected ${expected}; got an array with ${kindOf(value)}`)
    }
    scratch[p + 1 + i] = value
  }
  return p + 1 + list.length
}

/** A list of numbers; one number stands for a list of one. */
export function putNumbers(p: number, value: readonly number[] | number | undefined, where: string): number {
  if (value === undefined) return skip(p)
  scratch[p] = 1
  return putList(p + 1, typeof value === 'number' ? [value] : value, where, 'a number or a list of numbers')
}

export function putText(p: number, value: string | undefined, where: string): number {
  if (value === undefined) return skip(p)
  if (typeof value !== 'string') refuse(where, 'a string', value)
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
  putList(0, shape, 'tensor: shape', 'a list of numbers')
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
