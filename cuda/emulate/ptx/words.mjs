// How PTX writes types, names and numbers, in C++.

/** PTX's types in C++: u16, b16, s16 and so on, and the floats. */
export const types = { f16: 'F16', bf16: 'BF16', f32: 'float', f64: 'double', pred: 'bool' }
for (const bits of [8, 16, 32, 64]) {
  for (const [letter, name] of Object.entries({ u: 'uint', b: 'uint', s: 'int' }))
    types[letter + bits] = `${name}${bits}_t`
}
export const bytesOf = type => (type === 'pred' ? 1 : Number(/\d+$/.exec(type)[0]) / 8)
export const storage = type => (type === 'pred' ? 'bool' : `uint${bytesOf(type) * 8}_t`)
export class Unknown extends Error {}
export const unknown = what => {
  throw new Unknown(`the emulator does not know: ${what}`)
}

/** A name of PTX as one of C++. */
export const cpp = name => name.replace('%', '_').replaceAll('$', '_')

/** The bits of a number; `undefined` for what is none. */
export function number(text) {
  const real = /^0([fd])([0-9A-Fa-f]+)$/.exec(text)
  if (real) return `0x${real[2]}${real[1] === 'f' ? 'u' : 'ull'}`
  if (!/^-?(0x[0-9A-Fa-f]+|\d+)U?$/.test(text)) return undefined
  const digits = text.replace('U', '')
  const value = digits.startsWith('-') ? -BigInt(digits.slice(1)) : BigInt(digits)
  return `0x${BigInt.asUintN(64, value).toString(16)}ull`
}

/** Splits at commas that lie in no braces or brackets. */
export function split(text) {
  const parts = []
  let depth = 0
  let part = ''
  for (const c of text) {
    if (c === '{' || c === '[' || c === '(') depth++
    if (c === '}' || c === ']' || c === ')') depth--
    if (c === ',' && depth === 0) {
      parts.push(part.trim())
      part = ''
    } else part += c
  }
  return part.trim() ? [...parts, part.trim()] : parts
}

/** The parts of `{a, b}`, or the one that is there. */
export const elements = text => (text.startsWith('{') ? split(text.slice(1, -1)) : [text])
