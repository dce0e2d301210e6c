import { AnnealError } from '../errors'
import { describe } from './ndarray'
import type { Label, LabelsOf } from './partition'
import type { Random } from './random'

export interface SampleOptions<T> {
  /** How much more often one element is drawn than another: one weight each, or a function of the element. */
  readonly weights?: ArrayLike<number> | ((element: T, index: number) => number)
  /** Draws every class (or every value of a feature) equally often. */
  readonly balance?: LabelsOf<T>
  /** Makes `balance` take a numeric feature in this many ranges of equal width. */
  readonly bins?: number
  /** Elements drawn in an epoch; default as many as there are. */
  readonly count?: number
  /** Whether an element may come more than once in an epoch; default true. */
  readonly replacement?: boolean
  /** Chooses the elements, together with the epoch; default 0. */
  readonly seed?: number
}

/** Throws unless there is one finite weight of at least 0 for each element, and enough that can be drawn. */
export function checkWeights(weights: Float64Array, length: number, needed: number): void {
  if (weights.length !== length) {
    throw new AnnealError(
      'ERR_SHAPE',
      `sample: expected one weight for each of ${length} elements, got ${weights.length}`,
    )
  }
  const bad = weights.findIndex(weight => !(weight >= 0 && weight < Infinity))
  if (bad >= 0) {
    throw new AnnealError(
      'ERR_VALUE',
      `sample: expected weights that are finite and at least 0, got ${weights[bad]} for element ${bad}`,
    )
  }
  const drawable = weights.reduce((count, weight) => count + (weight > 0 ? 1 : 0), 0)
  if (drawable < needed) {
    throw new AnnealError(
      'ERR_VALUE',
      `sample: expected at least ${needed} elements with a weight above 0, got ${drawable}`,
    )
  }
}

/** Weights under which every label is equally likely: the inverse of how often it comes. */
export function balancedWeights(labels: readonly Label[]): Float64Array {
  const counts = new Map<Label, number>()
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1)
  return Float64Array.from(labels, label => 1 / counts.get(label)!)
}

/** The number of the range of equal width between the least and the greatest value that each value falls in. */
export function binned(labels: readonly Label[], bins: number): Label[] {
  const values = labels.map((label, i) => {
    if (typeof label === 'number' && Number.isFinite(label)) return label
    throw new AnnealError('ERR_VALUE', `sample: bins need finite numbers, but element ${i} has ${describe(label)}`)
  })
  const low = values.reduce((a, b) => Math.min(a, b), Infinity)
  const width = (values.reduce((a, b) => Math.max(a, b), -Infinity) - low) / bins
  return values.map(value => (width === 0 ? 0 : Math.min(bins - 1, Math.floor((value - low) / width))))
}

/** `count` draws with replacement: each inverts the cumulative distribution by binary search. */
export function drawWithReplacement(weights: Float64Array, count: number): (random: Random) => Uint32Array {
  const sums = new Float64Array(weights.length)
  let total = 0
  let last = 0
  weights.forEach((weight, i) => {
    total += weight
    sums[i] = total
    if (weight > 0) last = i
  })
  // Rounding may put a draw at the very end, past the last element that has a weight.
  return random => Uint32Array.from({ length: count }, () => Math.min(last, firstAbove(sums, random.float() * total)))
}

/**
 * `count` draws without replacement: the elements with the greatest u^(1/w), u uniform (Efraimidis and Spirakis,
 * "Weighted random sampling with a reservoir", 2006), taken as logarithms.
 */
export function drawWithoutReplacement(weights: Float64Array, count: number): (random: Random) => Uint32Array {
  return random => {
    const keys = weights.map(weight => {
      const key = Math.log(1 - random.float()) / weight
      return weight > 0 ? key : -Infinity
    })
    const order = Uint32Array.from(keys, (_, i) => i).sort((a, b) => keys[b]! - keys[a]! || a - b)
    return order.slice(0, count)
  }
}

function firstAbove(sums: Float64Array, value: number): number {
  let low = 0
  let high = sums.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sums[middle]! > value) high = middle
    else low = middle + 1
  }
  return low
}
