// A contender of the benchmarks: a child process that answers one line for each line it gets (see worker.mjs).
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export class Peer {
  #process
  #lines
  #errors = ''

  constructor(id, command, args, environment) {
    this.id = id
    this.#process = spawn(command, args, { env: { ...process.env, ...environment }, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#process.stdin.on('error', () => {}) // the end of the process says more
    this.#process.on('error', error => {
      this.#errors += error.message
    })
    this.#process.stderr.on('data', text => {
      this.#errors = (this.#errors + text).slice(-2000)
    })
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]()
  }

  async #answer() {
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw new Error(this.#errors.trim().split('\n').at(-1) || `${this.id} ended`)
      if (value.startsWith('{')) return JSON.parse(value) // libraries greet on the standard output
    }
  }

  /** Waits until the process is up: { name, version, threads }. */
  async start() {
    this.about = (await this.#answer()).ready
    return this.about
  }

  /** Runs a workload: { seconds, check } for all its iterations, or { error }. */
  async ask(workload, iterations) {
    this.#process.stdin.write(`${JSON.stringify({ workload, iterations })}\n`)
    return this.#answer()
  }

  async end() {
    if (this.#process.exitCode !== null || this.#process.pid === undefined) return
    this.#process.stdin.end()
    await once(this.#process, 'exit')
  }
}
