// translate.mjs FROM.ptx TO.cpp NAME: writes what nvcc or NVRTC made of kernels as C++ that the emulator runs, one
// function per kernel. Registers are numbers without a type, as in PTX; what an instruction does with them is in machine.h and
// numbers.h, under the instruction's name. NAME is the source's, by which kernels of one name in two sources are told apart.
import { readFileSync, writeFileSync } from 'node:fs'
import { Body } from './body.mjs'
import { parts } from './read.mjs'
import { bytesOf, cpp, number, split, storage, Unknown, unknown } from './words.mjs'

const [from, to, source] = process.argv.slice(2)

/** What lies outside of kernels. */
class Module {
  shared = new Map() // symbol → bytes and alignment
  constants = new Set()
  prototypes = []
  out = []
  kernels = []

  /** Memory that a block's threads share; without a number of elements what the launch asks for. */
  addShared(text) {
    const [, align, type, name, count = '1'] =
      /\.shared \.align (\d+) \.(\w+) ([\w$]+)(?:\[(\d*)\])?$/.exec(text) ?? unknown(text)
    this.shared.set(name, { align: Number(align), bytes: count === '' ? undefined : Number(count) * bytesOf(type) })
  }

  /** `.global .align 8 .b8 name[144] = {8, 93, ...}`, or one number: what kernels read. */
  addConstant(text) {
    const [, align, type, name, count = 1, values = '0'] =
      /\.(?:global|const) \.align (\d+) \.(\w+) ([\w$]+)(?:\[(\d+)\])?(?: = \{?([^}]*)\}?)?$/.exec(text) ??
      unknown(text)
    this.constants.add(name)
    const bits = split(values).map(value => `${storage(type)}(${number(value) ?? unknown(value)})`)
    this.out.push(`alignas(${align}) const ${storage(type)} ${cpp(name)}[${count}] = {${bits.join(', ')}};`)
  }

  addFunction(head, statements) {
    const entry = /\.entry\s+([\w$]+)\s*\(([^)]*)\)/.exec(head)
    const plain = /\.func\s+(?:\(([^)]*)\)\s*)?([\w$]+)\s*\(([^)]*)\)/.exec(head)
    if (!entry && !plain) unknown(head.slice(0, 200))
    const name = entry ? entry[1] : plain[2]
    const declared = split(entry ? entry[2] : [plain[1], plain[3]].filter(Boolean).join(', ')).map(text => {
      const [, type, own, count = 1] =
        /^\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?$/.exec(text) ?? unknown(text)
      return { name: own, bytes: bytesOf(type) * Number(count) }
    })
    const addresses = declared.map((p, i) => [p.name, entry ? `in[${i}]` : cpp(p.name)])
    const body = new Body(this, name, new Map(addresses))
    for (const text of statements) {
      if (/^[{}]$/.test(text)) body.emit(text)
      else if (text.endsWith(':')) body.emit(`${cpp(text)};`)
      else body.statement(text)
    }
    if (statements.at(-1)?.endsWith(':')) body.emit(';')
    const number = this.kernels.length
    const own = entry ? `kernel${number}` : cpp(name)
    const signature = entry ? 'void** in' : declared.map(p => `std::byte* ${cpp(p.name)}`).join(', ')
    const statics = Math.ceil(body.sharedBytes / 16) * 16
    if (!entry) this.prototypes.push(`void ${own}(${signature});`)
    this.out.push(
      `void ${own}(${signature}) {`,
      `  constexpr uint32_t staticBytes = ${statics};`,
      '  bool carry = false;',
    )
    this.out.push(...body.lines, '}')
    if (!entry) return
    const threads = /\.maxntid\s+(\d+)/.exec(head)?.[1] ?? 1024
    this.kernels.push(`{"${name}", ${own}, ${statics}, ${threads}, {${declared.map(p => p.bytes).join(', ')}}}`)
  }
}

try {
  const module = new Module()
  const ptx = readFileSync(from, 'utf8')
  const capability = /^\.target sm_(\d+)/m.exec(ptx)?.[1] ?? unknown('a module without a target')
  for (const { declaration, head, statements } of parts(ptx)) {
    if (head) module.addFunction(head, statements)
    else if (/\.shared\b/.test(declaration)) module.addShared(declaration)
    else module.addConstant(declaration)
  }
  const lines = [
    '#include "emulate/ptx/machine.h"',
    'namespace anneal::emulate::ptx {',
    'namespace {',
    ...module.prototypes,
    ...module.out,
  ]
  if (module.kernels.length > 0) {
    lines.push('const Translated all[] = {', ...module.kernels.map(k => `    ${k},`), '};')
    if (source !== 'fused.cu') lines.push(`const bool added = addTranslated("${source}", ${capability}, all);`)
  }
  lines.push('}  // namespace')
  if (source === 'fused.cu') lines.push('extern "C" const Translated* fusedTranslated() { return all; }') // made at run time
  lines.push('}  // namespace anneal::emulate::ptx', '')
  writeFileSync(to, lines.join('\n'))
} catch (error) {
  if (!(error instanceof Unknown)) throw error
  console.error(`${from}: ${error.message}`)
  process.exit(1)
}
