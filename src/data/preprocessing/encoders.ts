import { AnnealError } from '../../errors'
import { describe } from '../ndarray'
import { isMissing, type Value, type ValueColumn } from './columns'
import { SavedFields } from './saved'
import { learnt, type SavedStep, Transformer } from './transformer'

/** A class or category; null stands for a missing value. */
export type Category = string | number | boolean | null

/** Numbers by size, then booleans, then texts by code unit, missing last: one order wherever it is made. */
export function compareValues(a: Value, b: Value): number {
  const rank = (value: Value) =>
    isMissing(value) ? 3 : typeof value === 'string' ? 2 : typeof value === 'boolean' ? 1 : 0
  return rank(a) - rank(b) || (a === b ? 0 : a! < b! ? -1 : 1)
}

function categoryOf(value: Value): Category {
  return isMissing(value) ? null : typeof value === 'bigint' ? Number(value) : (value as Category)
}

function categoriesOf(column: Iterable<Value>): Category[] {
  return [...new Set(Array.from(column, categoryOf))].sort(compareValues)
}

function positions(categories: readonly Category[], where: string): Map<Category, number> {
  const map = new Map(categories.map((category, i) => [category, i]))
  if (map.size === categories.length) return map
  throw new AnnealError(
    'ERR_VALUE',
    `${where}: expected categories that differ, got ${categories.map(String).join(', ')}`,
  )
}

const unknowns = ['error', 'ignore'] as const
const drops = ['none', 'first', 'ifBinary'] as const

export interface OneHotEncoderOptions {
  /** The categories of each column, in order; by default those that `fit` sees, sorted. */
  readonly categories?: readonly (readonly Category[])[]
  /** A category that `fit` did not see: an error (default), or zeros in all its columns. */
  readonly handleUnknown?: (typeof unknowns)[number]
  /** Leaves out each column's first category, or only where it has two; default 'none'. */
  readonly drop?: (typeof drops)[number]
}

/**
 * Each column becomes one column of zeros and ones per category; a missing value is a category of its own, the last.
 * As scikit-learn's `OneHotEncoder` with dense output.
 */
export class OneHotEncoder extends Transformer {
  override readonly kind = 'OneHotEncoder'
  readonly #given: readonly (readonly Category[])[] | undefined
  readonly #handleUnknown: (typeof unknowns)[number]
  readonly #drop: (typeof drops)[number]
  #categories: readonly Map<Category, number>[] | undefined

  constructor({ categories, handleUnknown = 'error', drop = 'none' }: OneHotEncoderOptions = {}) {
    super()
    if (!unknowns.includes(handleUnknown) || !drops.includes(drop)) {
      throw new AnnealError(
        'ERR_VALUE',
        `OneHotEncoder: expected handleUnknown ${unknowns.join(', ')} and drop ${drops.join(', ')}, got ${handleUnknown} and ${drop}`,
      )
    }
    this.#given = categories
    this.#handleUnknown = handleUnknown
    this.#drop = drop
  }

  /** The categories of each column, in the order of their columns; throws `ERR_STATE` before `fit`. */
  get categories(): Category[][] {
    return learnt(this.#categories, this.kind).map(map => [...map.keys()])
  }

  override fitColumns(columns: readonly ValueColumn[]): void {
    const given = this.#given
    if (given && given.length !== columns.length) {
      throw new AnnealError(
        'ERR_SHAPE',
        `${this.kind}.fit: categories name ${given.length} columns, but there are ${columns.length}`,
      )
    }
    const found = given ?? columns.map(column => categoriesOf(column))
    this.#categories = found.map(categories => positions(categories, this.kind))
    if (given) this.transformColumns(columns)
  }

  override transformColumns(columns: readonly ValueColumn[]): Float64Array[] {
    const maps = learnt(this.#categories, this.kind, { expected: c => c.length, found: columns.length })
    return columns.flatMap((column, k) => this.#encode(column, maps[k]!, k))
  }

  override featureNames(names: readonly string[]): string[] {
    const maps = learnt(this.#categories, this.kind, { expected: c => c.length, found: names.length })
    return names.flatMap((name, k) =>
      [...maps[k]!.keys()].slice(this.#first(maps[k]!)).map(category => `${name}=${category}`),
    )
  }

  override toJSON(): SavedStep {
    const options = { handleUnknown: this.#handleUnknown, drop: this.#drop }
    const fitted = this.#categories !== undefined
    return { kind: this.kind, ...options, fitted, categories: fitted ? this.categories : this.#given?.map(c => [...c]) }
  }

  static fromJSON(saved: unknown): OneHotEncoder {
    const fields = new SavedFields(saved)
    const categories = fields.has('categories') ? fields.lists('categories') : undefined
    const fitted = fields.boolean('fitted')
    const encoder = new OneHotEncoder({
      categories,
      handleUnknown: fields.choice('handleUnknown', unknowns),
      drop: fields.choice('drop', drops),
    })
    if (fitted) encoder.#categories = (categories ?? []).map(list => positions(list, encoder.kind))
    return encoder
  }

  /** The first category that has a column. */
  #first(map: ReadonlyMap<Category, number>): number {
    return this.#drop === 'first' || (this.#drop === 'ifBinary' && map.size === 2) ? 1 : 0
  }

  #encode(column: ValueColumn, map: ReadonlyMap<Category, number>, index: number): Float64Array[] {
    const first = this.#first(map)
    const out = Array.from({ length: map.size - first }, () => new Float64Array(column.length))
    for (let row = 0; row < column.length; row++) {
      const position = map.get(categoryOf(column[row]))
      if (position !== undefined) {
        if (position >= first) out[position - first]![row] = 1
      } else if (this.#handleUnknown === 'error') {
        throw new AnnealError(
          'ERR_VALUE',
          `${this.kind}: column ${index}: expected one of ${known(map)}, got ${describe(column[row])} in row ${row}; fit with it or set handleUnknown: 'ignore'`,
        )
      }
    }
    return out
  }
}

/**
 * Classes as int32 numbers 0, 1 …, in sorted order, or in the order given. As scikit-learn's `LabelEncoder`.
 */
export class LabelEncoder {
  readonly kind = 'LabelEncoder'
  #classes: Map<Category, number> | undefined

  /** @param classes - the classes in the order of their numbers, where `fit` shall not find them */
  constructor(classes?: readonly Category[]) {
    if (classes) this.#classes = positions(classes, this.kind)
  }

  /** The classes, in the order of their numbers. */
  get classes(): Category[] {
    return [...learnt(this.#classes, this.kind).keys()]
  }

  fit(labels: ArrayLike<Value>): this {
    if (labels.length === 0)
      throw new AnnealError('ERR_VALUE', `${this.kind}.fit: expected at least one label, got none`)
    const values = Array.from(labels)
    const row = values.findIndex(isMissing)
    if (row >= 0)
      throw new AnnealError(
        'ERR_VALUE',
        `${this.kind}.fit: expected a label in every row, got ${values[row]} in row ${row}`,
      )
    this.#classes = positions(categoriesOf(values), this.kind)
    return this
  }

  /** The class numbers of `labels`; throws `ERR_VALUE` for a label that is no class. */
  transform(labels: ArrayLike<Value>): Int32Array {
    const classes = learnt(this.#classes, this.kind)
    return Int32Array.from(labels as ArrayLike<unknown> as ArrayLike<number>, (label: Value, row) => {
      const position = classes.get(categoryOf(label))
      if (position !== undefined) return position
      throw new AnnealError(
        'ERR_VALUE',
        `${this.kind}: expected one of ${known(classes)}, got ${describe(label)} in row ${row}`,
      )
    })
  }

  /** Fits, and transforms the same labels. */
  fitTransform(labels: ArrayLike<Value>): Int32Array {
    return this.fit(labels).transform(labels)
  }

  /** The classes that the numbers stand for; throws `ERR_INDEX` for a number that none has. */
  inverseTransform(numbers: ArrayLike<number | bigint>): Category[] {
    const classes = this.classes
    return Array.from(numbers, (number, row) => {
      const position = Number(number)
      if (Number.isInteger(position) && position >= 0 && position < classes.length) return classes[position]!
      throw new AnnealError(
        'ERR_INDEX',
        `${this.kind}: expected a class from 0 to ${classes.length - 1}, got ${number} in row ${row}`,
      )
    })
  }

  toJSON(): SavedStep {
    return { kind: this.kind, ...(this.#classes && { classes: this.classes }) }
  }

  static fromJSON(saved: unknown): LabelEncoder {
    const fields = new SavedFields(saved)
    return new LabelEncoder(fields.has('classes') ? fields.values('classes') : undefined)
  }
}

function known(categories: ReadonlyMap<Category, number>): string {
  const names = [...categories.keys()].map(category => JSON.stringify(category))
  return names.length > 12 ? `${names.slice(0, 12).join(', ')} … (${names.length})` : names.join(', ')
}
