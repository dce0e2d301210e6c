import { noGrad } from '../autograd'
import type { DType } from '../dtype'
import { scope } from '../lifetime'
import { zeros } from '../ops.generated'
import { Tensor } from '../tensor'
import type { Module } from './module'

/** The shape of an input, batch included, and its dtype where it is not float32. */
export type SummaryInput = readonly number[] | { readonly shape: readonly number[]; readonly dtype: DType }

interface Line {
  readonly name: string
  readonly module: Module
  output: string
  flops: number
}

/** The table that `Module.summary` gives. */
export function summarize(model: Module, ...inputs: SummaryInput[]): string {
  const lines = Array.from(model.namedModules(), ([name, module]): Line => ({ name, module, output: '', flops: 0 }))
  if (inputs.length > 0) trace(model, lines, inputs)
  const rows = lines.map(line => [
    `${'  '.repeat(line.name ? line.name.split('.').length : 0)}${line.name || 'model'} (${line.module.constructor.name})`,
    line.output,
    ownParameters(line.module).toLocaleString('en'),
    line.flops ? scaled(line.flops) : '',
  ])
  const total = model.countParameters()
  const trainable = model.countParameters({ trainableOnly: true })
  const bytes = [...model.namedCells()].reduce((n, [, cell]) => n + cell.size * bytesPer(cell.dtype), 0)
  const flops = lines.reduce((n, line) => n + line.flops, 0)
  const footer = [
    `Parameters: ${total.toLocaleString('en')} (${trainable.toLocaleString('en')} trainable), ${scaled(bytes, 1024)}B`,
    ...(flops ? [`Floating-point operations of one forward pass: ${scaled(flops)}`] : []),
  ]
  return `${table([['Module', 'Output', 'Parameters', 'FLOPs'], ...rows])}\n${footer.join('\n')}`
}

/** Runs the model once on zeros and notes what each module gives. */
function trace(model: Module, lines: readonly Line[], inputs: readonly SummaryInput[]): void {
  const remove = lines.map(line =>
    line.module.registerForwardHook((module, given, output) => {
      line.output = shapeText(output)
      if (!(output instanceof Tensor)) return
      const shapes = given.filter(t => t instanceof Tensor).map(t => t.shape)
      line.flops = module.flops({ inputs: shapes, output: output.shape })
    }),
  )
  const modes = new Map(lines.map(({ module }) => [module, module.training]))
  try {
    model.eval()
    scope(() => noGrad(() => void model.forward(...inputs.map(zeroInput))))
  } finally {
    for (const [module, mode] of modes) module.training = mode
    for (const off of remove) off()
  }
}

function zeroInput(input: SummaryInput): Tensor {
  return 'shape' in input ? zeros(input.shape, { dtype: input.dtype }) : zeros(input)
}

function shapeText(output: unknown): string {
  if (output instanceof Tensor) return `[${output.shape.join(', ')}]`
  if (Array.isArray(output)) return output.map(shapeText).join(' ')
  if (output !== null && typeof output === 'object')
    return Object.entries(output)
      .map(([k, v]) => `${k}: ${shapeText(v)}`)
      .join(' ')
  return ''
}

function ownParameters(module: Module): number {
  const cells = module.children().flatMap(child => Array.from(child.namedCells()))
  const below = new Set(cells.flatMap(([, cell, owner]) => (owner === module ? [] : [cell]))) // a child may hold its parent
  return module
    .parameters()
    .filter(p => !below.has(p))
    .reduce((n, p) => n + p.size, 0)
}

function bytesPer(dtype: DType): number {
  if (dtype === 'float64' || dtype === 'int64') return 8
  if (dtype === 'float32' || dtype === 'int32') return 4
  return dtype.includes('16') ? 2 : 1
}

/** A number with a prefix: 1.23 M. */
function scaled(value: number, step = 1000): string {
  const prefixes = step === 1024 ? ['', 'Ki', 'Mi', 'Gi', 'Ti'] : ['', 'k', 'M', 'G', 'T']
  let i = 0
  let rest = value
  while (rest >= step && i < prefixes.length - 1) {
    rest /= step
    i++
  }
  return `${i === 0 ? rest : rest.toPrecision(3)} ${prefixes[i]}`.trimEnd()
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd()
  const rule = '─'.repeat(widths.reduce((a, b) => a + b, 2 * (widths.length - 1)))
  return [line(rows[0]!), rule, ...rows.slice(1).map(line), rule].join('\n')
}
