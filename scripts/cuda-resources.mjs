// cuda-resources.mjs LOG: reads what ptxas says of each kernel (-Xptxas -v) in the log of a build. Prints a summary for each
// architecture and the kernels that take the most registers, and fails if one spills registers to memory.
import { readFileSync } from 'node:fs'

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
for (const target of [...new Set(kernels.map(k => k.target))].sort()) {
  const [all, some] = [kernels, spilling].map(list => list.filter(k => k.target === target))
  const most = Math.max(0, ...some.map(k => k.spills))
  console.log(
    `${target}: ${all.length} kernels, ${all[0].registers} registers at most; ${some.length} spill, ${most} bytes at most`,
  )
}
for (const k of spilling) console.log(`spills: ${show(k)}`)
for (const k of kernels.filter(k => k.stack > 0 && k.spills === 0)) console.log(`has a stack: ${show(k)}`)
process.exit(spilling.length > 0 ? 1 : 0)
