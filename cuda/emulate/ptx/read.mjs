// Cuts PTX into statements.
import { unknown } from './words.mjs'

/** Reads a text from its beginning on. */
class Reader {
  at = 0
  constructor(text) {
    this.text = text
  }

  /** What lies before the next of these characters, or before the end. */
  until(...ends) {
    const start = this.at
    while (this.at < this.text.length && !ends.includes(this.text[this.at])) this.at++
    return this.text.slice(start, this.at).replace(/\s+/g, ' ').trim()
  }

  skipSpace() {
    while (/\s/.test(this.text[this.at] ?? unknown('a function without an end'))) this.at++
  }

  /** The statements up to the brace that closes a function; braces within, and labels, are statements, too. */
  statements() {
    const out = []
    for (let depth = 1; ; ) {
      this.skipSpace()
      const first = this.text[this.at]
      const label = /^[\w$]+:/.exec(this.text.slice(this.at, this.at + 100))?.[0]
      if (first === '{' || first === '}') {
        this.at++
        depth += first === '{' ? 1 : -1
        if (depth === 0) return out
        out.push(first)
      } else if (label) {
        this.at += label.length
        out.push(label)
      } else {
        out.push(this.until(';'))
        this.at++
      }
    }
  }
}

/** The parts of a module: `{ declaration }`, or `{ head, statements }` of a function. */
export function* parts(ptx) {
  const reader = new Reader(ptx.replace(/\/\/.*$/gm, ''))
  while (reader.at < reader.text.length) {
    let head = reader.until(';', '{', '\n')
    if (head === '' || /^\.(version|target|address_size|file)/.test(head)) {
      reader.at++
      continue
    }
    const isFunction = /\.(entry|func)\b/.test(head)
    head += ` ${isFunction ? reader.until(';', '{') : reader.until(';')}`
    const opened = reader.text[reader.at++] === '{'
    if (opened) yield { head, statements: reader.statements().filter(Boolean) }
    else if (!isFunction) yield { declaration: head.trim() }
  }
}
