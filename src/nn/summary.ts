import { noGrad } from '../autograd'
import { type DType, itemSize } from '../dtype'
import { scope } from '../lifetime'
import { zeros } from '../ops.generated'
import { Tensor } from '../tensor'
import { bytesOf, countOf } from '../units'
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
    line.flops ? countOf(line.flops) : '',
  ])
  const total = model.countParameters()
  const trainable = model.countParameters({ trainableOnly: true })
  const bytes = [...model.namedCells()].reduce((n, [, cell]) => n + cell.size * itemSize(cell.dtype), 0)
  const flops = lines.reduce((n, line) => n + line.flops, 0)
  const footer = [
    `Parameters: ${total.toLocaleString('en')} (${trainable.toLocaleString('en')} trainable), ${bytesOf(bytes)}`,
    ...(flops ? [`Floating-point operations of one forward pass: ${countOf(flops)}`] : []),
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
