// A kernel's statements, one by one.
import { handlers, safe } from './instructions.mjs'
import { bytesOf, cpp, elements, number, split, storage, types, unknown } from './words.mjs'

const kSharedBase = 1024 // where a block's shared memory begins: before it lies the system's
const special = { tid: 'threadIdx', ntid: 'blockDim', ctaid: 'blockIdx', nctaid: 'gridDim' }

/** A kernel, or a function that kernels call: takes statements of PTX, and has lines of C++. */
export class Body {
  constructor(module, name, parameters) {
    this.module = module
    this.name = name
    this.parameters = parameters // name → C++ for its address
    this.shared = new Map() // symbol → its address in the block's memory
    this.sharedBytes = 0
    this.registers = new Set()
    this.lines = []
  }

  /** Where a symbol lies; `undefined` for what is no symbol. */
  symbol(name) {
    const { module } = this
    if (this.parameters.has(name)) return `address(${this.parameters.get(name)})`
    if (module.constants.has(name)) return `address(${cpp(name)})`
    if (!module.shared.has(name)) return undefined
    const { bytes, align } = module.shared.get(name)
    if (bytes === undefined) return `dynamicBase(staticBytes)` // after all that is static
    if (!this.shared.has(name)) {
      const at = Math.ceil(this.sharedBytes / align) * align
      this.shared.set(name, at)
      this.sharedBytes = at + bytes
    }
    return `${kSharedBase + this.shared.get(name)}ull`
  }

  /** An operand's bits: a register, a number or a place. */
  bits(text) {
    const axis = /^%(n?(?:cta|t)id)\.([xyz])$/.exec(text)
    if (axis) return `${special[axis[1]]}.${axis[2]}`
    if (text === '%laneid') return 'uint32_t(lane())'
    if (this.registers.has(text)) return cpp(text)
    return this.symbol(text) ?? number(text) ?? unknown(`the operand ${text} in ${this.name}`)
  }

  /** The bits of one operand, or of several in braces. */
  list(text) {
    return elements(text)
      .map(e => this.bits(e))
      .join(', ')
  }

  get(type, text) {
    return `get<${types[type]}>(${this.bits(text)})`
  }

  /** A place in memory: [register + number] or [symbol + number]. */
  place(text) {
    const [, base, plus = '0'] =
      /^\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+))?\s*\]$/.exec(text) ?? unknown(`the address ${text}`)
    return `at(${this.bits(base)}, ${plus})`
  }

  emit(line) {
    this.lines.push(`  ${line}`)
  }

  statement(text) {
    if (text.startsWith('.')) return this.directive(text)
    const guard = /^@(!?)(%?\w+)\s+/.exec(text)
    const rest = guard ? text.slice(guard[0].length) : text
    const [, opcode, operands] = /^([\w.:]+)\s*(.*)$/s.exec(rest) ?? unknown(text)
    const before = this.lines.length
    this.instruction(opcode.split('.'), split(operands), text)
    if (guard) {
      const made = this.lines.splice(before).map(line => line.trim())
      this.emit(`if (${guard[1]}${cpp(guard[2])}) { ${made.join(' ')} }`)
    }
  }

  directive(text) {
    const registers = /^\.reg\s+\.(\w+)\s+(.*)$/s.exec(text)
    if (registers) {
      const names = split(registers[2]).flatMap(name => {
        const many = /^(.*)<(\d+)>$/.exec(name)
        return many ? Array.from({ length: Number(many[2]) }, (_, i) => many[1] + i) : [name]
      })
      for (const name of names) this.registers.add(name)
      return this.emit(`${storage(registers[1])} ${names.map(cpp).join(', ')};`)
    }
    const memory = /^\.(local|param|shared)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?$/.exec(text)
    if (memory?.[1] === 'shared') return this.module.addShared(text)
    if (memory) {
      const bytes = Number(memory[5] ?? 1) * bytesOf(memory[3])
      this.emit(`alignas(16) std::byte ${cpp(memory[4])}_memory[${bytes}];`)
      this.parameters.set(memory[4], `${cpp(memory[4])}_memory`)
      return
    }
    if (!text.startsWith('.pragma')) unknown(text)
  }

  /** `words` are those of the opcode; `o` its operands. */
  instruction(words, o, text) {
    const [op, ...mods] = words
    const type = mods.at(-1)
    const handler = handlers[op]
    if (handler) return handler.call(this, mods, o, text)
    // Anything else takes and gives values of one type.
    const name = [op, ...mods.slice(0, -1)].join('_')
    if (!types[type]) unknown(text)
    this.emit(
      `set(${this.bits(o[0])}, ${safe(name)}<${types[type]}>(${o
        .slice(1)
        .map(a => this.get(type, a))
        .join(', ')}));`,
    )
  }
}
