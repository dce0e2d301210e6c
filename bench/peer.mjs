// A contender of the benchmarks: a child process that answers one line for each line it gets (see worker.mjs). It starts when
// it is asked first, and may be ended and asked again.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export class Peer {
  #command
  #process
  #lines
  #errors = ''

  constructor(id, command, args, environment) {
    this.id = id
    this.#command = [command, args, { env: { ...process.env, ...environment }, stdio: ['pipe', 'pipe', 'pipe'] }]
  }

  get running() {
    return this.#process !== undefined
  }

  /** Starts the process; `about` then says { name, version, threads }. */
  async #start() {
    this.#errors = ''
    this.#process = spawn(...this.#command)
    this.#process.stdin.on('error', () => {}) // the end of the process says more
    this.#process.on('error', error => {
      this.#errors += error.message
    })
    this.#process.stderr.on('data', text => {
      this.#errors = (this.#errors + text).slice(-2000)
    })
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]()
    this.about = (await this.#answer()).ready
  }

  async #answer() {
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw new Error(this.#errors.trim().split('\n').at(-1) || `${this.id} ended`)
      if (value.startsWith('{')) return JSON.parse(value) // libraries greet on the standard output
    }
  }

  /**
   * Runs a workload: { seconds, check, peak } for all its iterations, or { error }; with `over`, the seconds that were waited,
   * where the answer did not come within `patience` seconds.
   */
  async ask(workload, iterations, patience = Number.POSITIVE_INFINITY) {
    let over
    let timer
    try {
      if (!this.running) await this.#start()
      if (patience < Number.POSITIVE_INFINITY) {
        timer = setTimeout(() => {
          over = patience
          this.#process?.kill('SIGKILL')
        }, patience * 1000)
      }
      this.#process.stdin.write(`${JSON.stringify({ workload: workload.name, iterations, options: workload })}\n`)
      return await this.#answer()
    } catch (error) {
      await this.end()
      return over ? { error: `took more than ${over} s`, over } : { error: String(error.message).split('\n')[0] }
    } finally {
      clearTimeout(timer)
    }
  }

  async end() {
    const child = this.#process
    this.#process = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
    child.stdin.end()
    // One that hangs, as with a GPU that has failed, is not waited for.
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
    await once(child, 'exit')
    clearTimeout(timer)
  }
}
