import { AnnealError } from '../errors'
import { isPlainObject } from '../objects'
import { Tensor } from '../tensor'

/** Checks of what layers are given; `layer` is the name that messages begin with. */

/** `value`, if it is a whole number from `least` on; throws ERR_VALUE otherwise. */
export function whole(layer: string, name: string, value: unknown, least = 1): number {
  if (Number.isSafeInteger(value) && (value as number) >= least) return value as number
  const expected = least === 1 ? 'a positive integer' : `an integer from ${least} on`
  throw new AnnealError('ERR_VALUE', `${layer}: expected ${name} to be ${expected}; got ${shown(value)}`)
}

/** A size for each of `rank` spatial axes, from one number for all or a list. */
export function sizes(layer: string, name: string, value: unknown, rank: number, least = 1): number[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : Array<unknown>(rank).fill(value)
  if (list.length !== rank) {
    throw new AnnealError(
      'ERR_VALUE',
      `${layer}: expected ${name} to be a number or a list of ${rank}; got a list of ${list.length}`,
    )
  }
  return list.map(v => whole(layer, name, v, least))
}

/** `value`, if it is a number from `low` to `high`; throws ERR_VALUE otherwise. */
export function within(layer: string, name: string, value: unknown, low: number, high: number): number {
  if (typeof value === 'number' && value >= low && value <= high) return value
  const expected = high === Infinity ? `a number from ${low} on` : `a number from ${low} to ${high}`
  throw new AnnealError('ERR_VALUE', `${layer}: expected ${name} to be ${expected}; got ${shown(value)}`)
}

/** `value`, if it is one of `choices`; throws ERR_VALUE otherwise. */
export function oneOf<C extends string>(layer: string, name: string, value: C, choices: readonly C[]): C {
  if (choices.includes(value)) return value
  throw new AnnealError(
    'ERR_VALUE',
    `${layer}: expected ${name} to be one of ${choices.join(', ')}; got ${shown(value)}`,
  )
}

/** Throws ERR_VALUE unless `x` is a tensor. */
export function needTensor(layer: string, x: unknown): asserts x is Tensor {
  if (x instanceof Tensor) return
  const several = Array.isArray(x) && x[0] instanceof Tensor
  const advice = several
    ? 'LSTM, GRU and RNN give [output, state]: call them in a module of your own that passes on the output'
    : 'Use tensor() to make one'
  const got = several ? '[tensor, …]' : Array.isArray(x) ? 'an array' : shown(x)
  throw new AnnealError('ERR_VALUE', `${layer}: expected a tensor; got ${got}. ${advice}`)
}

/** Throws ERR_SHAPE unless the last axis of `x` has `size` elements. */
export function lastAxis(layer: string, x: Tensor, size: number): void {
  needTensor(layer, x)
  const { shape } = x
  if (shape.length > 0 && shape[shape.length - 1] === size) return
  throw new AnnealError('ERR_SHAPE', `${layer}: expected inputs of size ${size} in the last axis; got [${shape}]`)
}

/** Throws ERR_SHAPE unless `x` has `rank` spatial axes between those of examples and channels. */
export function spatialInput(layer: string, x: Tensor, rank: number, channels?: number): void {
  needTensor(layer, x)
  const { shape } = x
  if (shape.length === rank + 2 && (channels === undefined || shape[rank + 1] === channels)) return
  const axes = ['L', 'H, W', 'D, H, W'][rank - 1]
  throw new AnnealError(
    'ERR_SHAPE',
    `${layer}: expected inputs of shape [N, ${axes}, ${channels ?? 'C'}]; got [${shape}]`,
  )
}

/** A few words on what a value is, for messages. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`
  if (typeof value === 'function') return `the function ${value.name || '() => …'}`
  if (Array.isArray(value)) return `[${value}]`
  if (typeof value !== 'object' || value === null) return String(value)
  return isPlainObject(value) ? 'an object' : `an object of class ${value.constructor.name}`
}
