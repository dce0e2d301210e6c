import { AnnealError } from '../errors'
import { scalarOf } from './collate'
import { describe } from './ndarray'
import { Random } from './random'

/** A class an element belongs to. */
export type Label = string | number | boolean | bigint | null

/**
 * Tells the class of every element: one label for each, in order; a function of the element; a record's key; or
 * `true`, the last member of a tuple, which is the target of `[x, y]`.
 */
export type LabelsOf<T> =
  | ArrayLike<Label>
  | ((element: T, index: number) => unknown)
  | (T extends readonly unknown[] ? true : T extends object ? keyof T & string : never)

export interface SplitOptions<T> {
  /** Chooses the elements of each part; default 0. */
  readonly seed?: number
  /** Default true; false gives each part a run of neighbours, as time series need. */
  readonly shuffle?: boolean
  /** Keeps every class's share in every part. */
  readonly stratify?: LabelsOf<T>
}

/** 0, and the sums of the first 1, 2 … fractions, the last one exactly 1. */
export function cumulative(fractions: readonly number[]): number[] {
  const total = fractions.reduce((sum, fraction) => sum + fraction, 0)
  if (fractions.length === 0 || !fractions.every(f => f > 0) || Math.abs(total - 1) > 1e-6) {
    throw new AnnealError(
      'ERR_VALUE',
      `split: expected positive fractions that sum to 1, got [${fractions}], sum ${total}`,
    )
  }
  let sum = 0
  const bounds = fractions.map(fraction => {
    const before = sum
    sum += fraction
    return before
  })
  return [...bounds, 1]
}

/**
 * Divides the positions 0 … length - 1 among parts with the given fractions; every position goes to one part. With
 * labels each class is divided alike, within one element of its exact share. Positions are shuffled by the seed.
 */
export function partition(
  length: number,
  fractions: readonly number[],
  { seed, shuffle, labels }: { seed: number; shuffle: boolean; labels?: readonly Label[] },
): Uint32Array[] {
  cumulative(fractions)
  const random = new Random(seed)
  const groups = labels ? groupBy(labels) : [Uint32Array.from({ length }, (_, i) => i)]
  const parts: Uint32Array[][] = fractions.map(() => [])
  const given = fractions.map(() => 0)
  let seen = 0
  for (const group of groups) {
    if (shuffle) random.shuffle(group)
    seen += group.length
    const wanted = fractions.map((fraction, p) => fraction * seen - given[p]!)
    let start = 0
    for (const [p, count] of allot(group.length, fractions, wanted).entries()) {
      parts[p]!.push(group.subarray(start, start + count))
      start += count
      given[p]! += count
    }
  }
  return parts.map((pieces, p) => joined(pieces, { shuffle, random, fraction: fractions[p]!, length }))
}

/** Whole numbers that sum to `count`: each share rounded down, the rest to the parts that lack most. */
function allot(count: number, fractions: readonly number[], wanted: readonly number[]): number[] {
  // The tiny term keeps 0.3 * 10 from becoming 2.
  const counts = fractions.map(fraction => Math.floor(fraction * count + 1e-9))
  const lack = counts.map((c, p) => ({ p, lack: wanted[p]! - c })).sort((a, b) => b.lack - a.lack || a.p - b.p)
  const rest = count - counts.reduce((sum, c) => sum + c, 0)
  for (let i = 0; i < rest; i++) counts[lack[i % lack.length]!.p]!++
  return counts
}

function joined(
  pieces: readonly Uint32Array[],
  { shuffle, random, fraction, length }: { shuffle: boolean; random: Random; fraction: number; length: number },
): Uint32Array {
  const part = new Uint32Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    part.set(piece, at)
    at += piece.length
  }
  if (part.length === 0) {
    throw new AnnealError(
      'ERR_VALUE',
      `split: the part of ${fraction} would be empty: there are ${length} elements; give more or larger fractions`,
    )
  }
  // Without this the classes of a stratified part would come one after another.
  return shuffle ? random.shuffle(part) : part.sort()
}

function groupBy(labels: readonly Label[]): Uint32Array[] {
  const groups = new Map<Label, number[]>()
  labels.forEach((label, i) => {
    const group = groups.get(label)
    if (group) group.push(i)
    else groups.set(label, [i])
  })
  for (const [label, group] of groups) {
    if (group.length < 2) {
      throw new AnnealError(
        'ERR_VALUE',
        `split: class ${String(label)} has 1 element; stratify needs at least 2 of each class: join rare classes or split without stratify`,
      )
    }
  }
  return [...groups.values()].map(group => Uint32Array.from(group))
}

/** The label of every element, however {@link LabelsOf} tells it. `read` must give elements at once. */
export function readLabels<T>(
  labels: LabelsOf<T>,
  length: number,
  read: (index: number) => T | Promise<T>,
  where: string,
): Label[] {
  if (typeof labels === 'object') {
    if (labels.length !== length) {
      throw new AnnealError(
        'ERR_SHAPE',
        `${where}: expected one label for each of ${length} elements, got ${labels.length}`,
      )
    }
    return Array.from(labels, (label, i) => checkLabel(label, i, where))
  }
  return Array.from({ length }, (_, i) => {
    const element = read(i)
    if (element instanceof Promise) {
      element.catch(() => {})
      throw new AnnealError(
        'ERR_STATE',
        `${where}: elements of this dataset are read asynchronously; give an array of labels, or load it first: fromItems(await dataset.toArray())`,
      )
    }
    return checkLabel(labelOf(labels, element, i), i, where)
  })
}

function labelOf<T>(labels: LabelsOf<T>, element: T, index: number): unknown {
  if (typeof labels === 'function') return labels(element, index)
  if (labels === true) return Array.isArray(element) ? element.at(-1) : undefined
  return (element as Record<string, unknown>)[labels as string]
}

function checkLabel(value: unknown, index: number, where: string): Label {
  const label = scalarOf(value)
  if (label === null || ['string', 'number', 'boolean', 'bigint'].includes(typeof label)) return label as Label
  throw new AnnealError(
    'ERR_VALUE',
    `${where}: expected a text, number or boolean as label of element ${index}, got ${describe(label)}`,
  )
}
