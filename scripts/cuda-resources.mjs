// cuda-resources.mjs LOG: reads what ptxas says of each kernel (-Xptxas -v) in the log of a build. Prints the kernels that
// take the most registers, and fails if one spills registers to memory that is not known to.
import { readFileSync } from 'node:fs'

// Kernels that spill a little. A list that may only shrink.
const known = [
  'addSlices',
  'flashBackward',
  'gradientOfRows',
  'longRowsGradient',
  'lossOfRows',
  'normalizeRows',
  'rowsGradient',
  'stepAlong',
  'weightedSums',
]

const log = readFileSync(process.argv[2], 'utf8')
const kernels = []
for (const line of log.split('\n')) {
  const entry = /Compiling entry function '(\S+)' for '(\S+)'/.exec(line)
  if (entry) kernels.push({ name: entry[1], target: entry[2], registers: 0, spills: 0, stack: 0 })
  const last = kernels.at(-1)
  if (!last) continue
  const memory = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line)
  if (memory) Object.assign(last, { stack: Number(memory[1]), spills: Number(memory[2]) + Number(memory[3]) })
  const registers = /Used (\d+) registers/.exec(line)
  if (registers) last.registers = Number(registers[1])
}
const show = k => `${k.registers} registers, ${k.stack} bytes of stack, ${k.spills} spilt: ${k.target} ${k.name}`
kernels.sort((a, b) => b.registers - a.registers)
console.log(`${kernels.length} kernels; those with the most registers:`)
for (const k of kernels.slice(0, 10)) console.log(`  ${show(k)}`)
const spilling = kernels.filter(k => k.spills > 0)
for (const k of spilling) console.log(`spills: ${show(k)}`)
process.exit(spilling.every(k => known.some(name => k.name.includes(name))) ? 0 : 1)
