import { refuseWhileCapturing } from './capturing'
import { AnnealError } from './errors'
import { nonzeroAt } from './internal.generated'
import { Tensor } from './tensor'

/** A part of an axis: from `start` up to, not including, `end`, by `step`. Negative bounds count from the end. */
export interface Slice {
  start?: number
  end?: number
  step?: number
}

/**
 * What stands for an axis in {@link Tensor.index}: a number picks one place and drops the axis, a slice a part of it, a tensor
 * of integers several places; null makes a new axis, and '...' stands for all axes in between.
 */
export type IndexItem = number | Slice | null | '...' | Tensor

declare module './tensor' {
  interface Tensor {
    /**
     * A part of this tensor, one item for each axis: `t.index(0, { start: 1 }, '...', -1)`. Missing items stand for whole axes.
     * Without a tensor among the items the result shares memory.
     * @throws ERR_INDEX for a number out of range or too many items.
     */
    index(...items: IndexItem[]): Tensor
    /** The elements where the bool `mask`, which broadcasts to this tensor, is true, with one axis. Waits to know how many. */
    maskedSelect(mask: Tensor): Promise<Tensor>
    /** The positions of the elements that are not 0: int64 of shape [count, axes]. Waits to know how many. */
    nonzero(): Promise<Tensor>
  }
}

// Bounds that lie outside of any axis are clamped to it.
const beforeAll = Number.MIN_SAFE_INTEGER
const afterAll = Number.MAX_SAFE_INTEGER

function fail(code: 'ERR_INDEX' | 'ERR_DTYPE' | 'ERR_VALUE', message: string): never {
  throw new AnnealError(code, `index: ${message}`)
}

function checkItem(item: unknown, position: number): void {
  if (item === null || item === '...') return
  if (typeof item === 'number') {
    if (!Number.isInteger(item)) fail('ERR_VALUE', `item ${position} must be an integer; got ${item}`)
    return
  }
  if (item instanceof Tensor) {
    if (item.dtype === 'bool') {
      fail('ERR_DTYPE', `item ${position} is a bool mask; use await t.maskedSelect(mask), or where() to keep the shape`)
    }
    if (item.dtype !== 'int32' && item.dtype !== 'int64') {
      fail('ERR_DTYPE', `item ${position} must be an int32 or int64 tensor; got ${item.dtype}`)
    }
    return
  }
  if (typeof item !== 'object') {
    fail('ERR_VALUE', `item ${position} must be an integer, a slice, null, '...' or a tensor; got ${String(item)}`)
  }
  const { start, end, step } = item as Slice
  for (const v of [start, end, step]) {
    if (v !== undefined && !Number.isInteger(v))
      fail('ERR_VALUE', `the slice at ${position} must hold integers; got ${v}`)
  }
  if (step === 0) fail('ERR_VALUE', `the slice at ${position} has a step of 0`)
}

/** Items with whole slices in the place of '...' and of what is missing at the end. */
function expand(items: readonly IndexItem[], shape: readonly number[]): Exclude<IndexItem, '...'>[] {
  items.forEach(checkItem)
  const used = items.filter(i => i !== null && i !== '...').length
  if (used > shape.length) fail('ERR_INDEX', `${used} items for a tensor with ${shape.length} axes, [${shape}]`)
  const rests = items.filter(i => i === '...').length
  if (rests > 1) fail('ERR_VALUE', `'...' may occur once; got it ${rests} times`)
  if (items.filter(i => i instanceof Tensor).length > 1) {
    fail('ERR_VALUE', 'at most one item may be a tensor; use indexSelect or gather one after the other')
  }
  const whole = Array.from({ length: shape.length - used }, () => ({}))
  return (rests ? items : [...items, '...' as const]).flatMap(i => (i === '...' ? whole : [i]))
}

function boundsOf(item: number | Slice, size: number, axis: number): [start: number, end: number, step: number] {
  if (typeof item !== 'number') {
    const { start, end, step = 1 } = item
    return [start ?? (step > 0 ? 0 : afterAll), end ?? (step > 0 ? afterAll : beforeAll), step]
  }
  if (item < -size || item >= size) {
    fail('ERR_INDEX', `${item} is out of range for axis ${axis} of size ${size}; expected ${-size} to ${size - 1}`)
  }
  const at = item < 0 ? item + size : item
  return [at, at + 1, 1]
}

function selected(x: Tensor, index: Tensor, axis: number): Tensor {
  const shape = [...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)]
  return index.ndim === 1 ? x.indexSelect(index, axis) : x.indexSelect(index.reshape([-1]), axis).reshape(shape)
}

function index(this: Tensor, ...items: IndexItem[]): Tensor {
  const all = expand(items, this.shape)
  const picks = all.filter(i => i !== null)
  const bounds = picks.map((item, axis) => boundsOf(item instanceof Tensor ? {} : item, this.shape[axis]!, axis))
  let result = this.slice(
    bounds.map(b => b[0]),
    bounds.map(b => b[1]),
    { steps: bounds.map(b => b[2]) },
  )
  const dropped = picks.flatMap((item, axis) => (typeof item === 'number' ? [axis] : []))
  if (dropped.length) result = result.squeeze({ axis: dropped })
  let axis = 0
  for (const item of all) {
    if (item === null) result = result.expandDims(axis++)
    else if (item instanceof Tensor) {
      result = selected(result, item, axis)
      axis += item.ndim
    } else if (typeof item !== 'number') axis++
  }
  return result
}

function requireMask(mask: Tensor): void {
  if (mask.dtype !== 'bool') {
    throw new AnnealError(
      'ERR_DTYPE',
      `maskedSelect: mask must be bool; got ${mask.dtype}; compare first, as in x.greater(0)`,
    )
  }
}

function maskedSelect(this: Tensor, mask: Tensor): Promise<Tensor> {
  refuseWhileCapturing('maskedSelect()')
  return selectMasked(this, mask)
}

async function selectMasked(x: Tensor, mask: Tensor): Promise<Tensor> {
  requireMask(mask)
  const full = mask.broadcastTo(x.shape)
  const count = await full.sum().item()
  return x.take(nonzeroAt(full, count, { flat: true }))
}

function nonzero(this: Tensor): Promise<Tensor> {
  refuseWhileCapturing('nonzero()')
  return placesIn(this)
}

async function placesIn(x: Tensor): Promise<Tensor> {
  return nonzeroAt(x, await x.cast('bool').sum().item())
}

Object.assign(Tensor.prototype, { index, maskedSelect, nonzero })
