// node scripts/cuda-loads.mjs OBJECT [REGEXP]
// How many bytes a multiprocessor's threads have under way while a kernel reads: what hides the latency of memory (Little's law: on
// an H100 some 20 KB to read at full bandwidth, more is better). For each kernel, and each of its loops, the bytes that a thread has asked
// for before it uses the first of them, by the order of its machine code, times the threads that its registers leave room for.
// It wants cuobjdump and nvdisasm (pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm) in PATH.
import { execFileSync } from 'node:child_process'

const registersOfAll = 65_536
const threadsOfAll = 2048

const [object, pattern = ''] = process.argv.slice(2)
if (!object) {
  process.stderr.write('usage: node scripts/cuda-loads.mjs OBJECT [REGEXP]\n')
  process.exit(2)
}
const run = (tool, args, input) => execFileSync(tool, args, { encoding: 'utf8', maxBuffer: 2 ** 30, input })

/** The bytes of a load, by the modifiers of its instruction. */
function bytesOf(instruction) {
  const [, bits] = /\.(8|16|64|128)\b/.exec(instruction.replace(/\.[US](8|16)\b/, '.$1').replace('.64]', ']')) ?? []
  return bits ? Number(bits) / 8 : 4
}

const predicateOf = text => /^@(!?)(U?P\w+)/.exec(text)?.slice(1)
const isLoad = text => /^(@!?U?P\w+\s+)?LDG/.test(text)

/** Without the narrower of two ways to load, of which a predicate takes the one or the other. */
function withoutAlternatives(instructions) {
  const wide = new Set()
  for (const { text } of instructions) if (isLoad(text) && text.includes('.128')) wide.add(predicateOf(text)?.join(''))
  return instructions.filter(({ text }) => {
    const predicate = isLoad(text) && !text.includes('.128') && predicateOf(text)
    return !predicate || !wide.has((predicate[0] ? '' : '!') + predicate[1])
  })
}

/** The most bytes that are asked for, and not yet used, at once. */
function underWay(instructions) {
  const pending = new Map() // register: the load that it waits for
  let most = 0
  for (const { text } of withoutAlternatives(instructions)) {
    const [operation] = text.replace(/^@!?U?P\w+\s+/, '').split(' ')
    const registers = [...text.matchAll(/\bR(\d+)\b/g)].map(m => Number(m[1]))
    const load = operation.startsWith('LDG')
    const wide = operation.endsWith('.128') ? 4 : operation.endsWith('.64') ? 2 : 1
    const used = load ? registers.slice(1) : registers.flatMap(r => Array.from({ length: wide }, (_, i) => r + i))
    const done = new Set(used.flatMap(r => pending.get(r) ?? []))
    for (const [r, of] of pending) if (done.has(of)) pending.delete(r)
    if (load) {
      const of = { bytes: bytesOf(operation) }
      for (let r = 0; r < Math.max(1, of.bytes / 4); ++r) pending.set(registers[0] + r, of)
    }
    most = Math.max(
      most,
      [...new Set(pending.values())].reduce((sum, { bytes }) => sum + bytes, 0),
    )
  }
  return most
}

/** The loops of a kernel that read: from where branches lead back to, to the branches. */
function loopsOf(instructions) {
  const place = new Map(instructions.map(({ at }, i) => [at, i]))
  return instructions.flatMap(({ text }, i) => {
    const [, to] = /\bBRA (?:U?P\w+, |`?\(?)?.*?0x([0-9a-f]+)/.exec(text) ?? []
    const from = to && place.get(Number.parseInt(to, 16))
    if (from === undefined || from >= i) return []
    const body = instructions.slice(from, i)
    return body.some(({ text }) => text.includes('LDG')) ? [underWay(body)] : []
  })
}

function registersOf(usage) {
  const found = [...usage.matchAll(/Function (\S+?):\s*REG:(\d+)/g)]
  return new Map(found.map(([, name, registers]) => [name, Number(registers)]))
}

const registers = registersOf(run('cuobjdump', ['-res-usage', object]))
const kernels = run('cuobjdump', ['-sass', object])
  .split(/\n\s*Function : /)
  .slice(1)
const names = run('c++filt', [], kernels.map(k => k.split('\n', 1)[0].trim()).join('\n'))
  .trim()
  .split('\n')
const rows = kernels.flatMap((code, i) => {
  if (!new RegExp(pattern).test(names[i])) return []
  const instructions = [...code.matchAll(/\/\*([0-9a-f]{4,})\*\/\s+([^;]+?)\s*;/g)].map(([, at, text]) => ({
    at: Number.parseInt(at, 16),
    text,
  }))
  const own = registers.get(code.split('\n', 1)[0].trim()) ?? 255
  const room = Math.min(threadsOfAll, Math.floor(registersOfAll / (Math.ceil(own / 8) * 8) / 128) * 128)
  const kilobytes = bytes => ((bytes * room) / 1024).toFixed(0)
  const loops = loopsOf(instructions).map(kilobytes)
  return [{ own, room, all: kilobytes(underWay(instructions)), loops, name: names[i] }]
})
rows.sort((a, b) => a.all - b.all)
for (const { own, room, all, loops, name } of rows)
  process.stdout.write(
    `${all.padStart(4)} KB, loops ${loops.join(' ') || 'none'}; ${own} registers, ${room} threads: ${name}\n`,
  )
