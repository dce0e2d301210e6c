import type { DType, TypedArray } from './dtype'
import { AnnealError } from './errors'
import { sizeOf } from './shape'
import { Tensor } from './tensor'

export interface FormatOptions {
  /** Digits after the point, at most. Default: 4. */
  precision?: number
  /** Elements beyond which only the edges are shown. Default: 1000. */
  threshold?: number
  /** Elements shown at each edge of an axis then. Default: 3. */
  edgeItems?: number
}

declare module './tensor' {
  interface Tensor {
    /** The values as text, in aligned columns within brackets, with dtype and shape. */
    format(options?: FormatOptions): Promise<string>
    /** Writes {@link Tensor.format} to the console. */
    print(options?: FormatOptions): Promise<void>
  }
}

const gap = '…'

/** The positions of an axis that are shown: null stands for those left out. */
function shownOf(size: number, edge: number | undefined): (number | null)[] {
  if (edge === undefined || size <= 2 * edge) return Array.from({ length: size }, (_, i) => i)
  const head = Array.from({ length: edge }, (_, i) => i)
  return [...head, null, ...head.map(i => size - edge + i)]
}

type Nested = string | null | Nested[]

/** Visits the shown elements: their texts, nested like the axes. */
function nestShown(shape: readonly number[], edge: number | undefined, text: (at: number) => string): Nested {
  const visit = (axis: number, offset: number): Nested => {
    if (axis === shape.length) return text(offset)
    const step = sizeOf(shape.slice(axis + 1))
    return shownOf(shape[axis]!, edge).map(i => (i === null ? null : visit(axis + 1, offset + i * step)))
  }
  return visit(0, 0)
}

function leaves(nested: Nested, out: string[] = []): string[] {
  if (Array.isArray(nested)) for (const n of nested) leaves(n, out)
  else if (nested !== null) out.push(nested)
  return out
}

const special = (v: number) => (Number.isNaN(v) ? 'nan' : v > 0 ? 'inf' : '-inf')

/** How all floats of a tensor are written: one notation, as many digits as any of them needs. */
function floatText(values: readonly number[], precision: number): (v: number) => string {
  const sizes = values.filter(v => Number.isFinite(v) && v !== 0).map(Math.abs)
  const largest = Math.max(0, ...sizes)
  const smallest = Math.min(Number.POSITIVE_INFINITY, ...sizes)
  const finite =
    largest >= 1e8 || (sizes.length > 0 && (smallest < 10 ** -precision || largest / smallest >= 1e6 * 10 ** precision))
      ? (v: number) => v.toExponential(precision)
      : (v: number) => v.toFixed(precision)
  const trimmed = (s: string) => s.replace(/(\.\d*?)0+(?=e|$)/, '$1').replace(/\.(?=e|$)/, '')
  const texts = values.filter(Number.isFinite).map(v => trimmed(finite(v)))
  const digits = Math.max(0, ...texts.map(t => /\.(\d+)/.exec(t)?.[1]?.length ?? 0))
  const exponential = texts.some(t => t.includes('e'))
  const whole = digits === 0 && !exponential ? '.' : ''
  return v => (Number.isFinite(v) ? (exponential ? v.toExponential(digits) : v.toFixed(digits) + whole) : special(v))
}

function textOf(data: TypedArray, dtype: DType, shown: readonly number[], precision: number): (at: number) => string {
  if (dtype === 'bool') return at => (data[at] ? 'true' : 'false')
  if (!dtype.includes('float')) return at => String(data[at])
  const text = floatText(
    shown.map(at => Number(data[at])),
    precision,
  )
  return at => text(Number(data[at]))
}

function layOut(nested: Nested, width: number, indent: number, depth: number): string {
  if (nested === null) return gap
  if (!Array.isArray(nested)) return nested.padStart(width)
  const flat = nested.every(n => !Array.isArray(n))
  const parts = nested.map(n => layOut(n, width, indent + 1, depth - 1))
  const separator = flat ? ', ' : `,${'\n'.repeat(Math.max(1, depth - 1))}${' '.repeat(indent + 1)}`
  return `[${parts.join(separator)}]`
}

function checkOptions(options: FormatOptions): void {
  for (const name of ['precision', 'threshold', 'edgeItems'] as const) {
    const value = options[name]
    if (
      value !== undefined &&
      !(Number.isInteger(value) && value >= 0 && value <= (name === 'precision' ? 20 : Infinity))
    ) {
      throw new AnnealError('ERR_VALUE', `format: ${name} must be a whole number from 0 on; got ${value}`)
    }
  }
}

async function format(this: Tensor, options: FormatOptions = {}): Promise<string> {
  checkOptions(options)
  const { precision = 4, threshold = 1000, edgeItems = 3 } = options
  const { shape, dtype } = this
  const data = await this.data()
  const edge = this.size > threshold ? edgeItems : undefined
  const places = leaves(nestShown(shape, edge, String)).map(Number)
  const nested = nestShown(shape, edge, textOf(data, dtype, places, precision))
  const width = leaves(nested).reduce((w, t) => Math.max(w, t.length), 0)
  return `${layOut(nested, width, 0, shape.length)}\n${dtype} [${shape.join(', ')}]`
}

async function print(this: Tensor, options?: FormatOptions): Promise<void> {
  console.log(await this.format(options))
}

Object.assign(Tensor.prototype, { format, print })
