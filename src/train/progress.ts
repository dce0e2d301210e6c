import type { Writable } from 'node:stream'
import { type Options, SingleBar } from 'cli-progress'

/** Values by name, such as loss and metrics. */
export type Logs = Readonly<Record<string, number>>

export interface ProgressOptions {
  epochs: number
  /** Steps in an epoch; where it is not known, the first epoch counts them. */
  stepsPerEpoch?: number
  /** Examples in a step, for the rate; without it the rate is in steps. A call of `step` may give its own number. */
  batchSize?: number
  /** Default: standard error, so that standard output stays free for results. */
  stream?: Writable & { isTTY?: boolean }
}

/** Shows how training goes. Epochs and steps count from 0. */
export interface Progress {
  /** Before the first step of the epoch. */
  epochStart(epoch: number): void
  /** After step `step` of the epoch, with the epoch's values so far. */
  step(step: number, logs?: Logs, examples?: number): void
  /** After the epoch, with its values. */
  epochEnd(epoch: number, logs?: Logs): void
  /** Ends the display; to be called also when training fails. */
  stop(): void
}

/**
 * A live bar with loss, metrics, rate and time left where `stream` is a terminal; elsewhere one line per epoch, without
 * control characters.
 */
export function createProgress(options: ProgressOptions): Progress {
  const stream = options.stream ?? standardError()
  const pace = new Pace(options)
  return stream.isTTY ? liveBar(options, stream, pace) : plainLines(stream, pace)
}

const ignore = () => {}

/** Standard error, where the loss of its reader, as in `node train.js 2>&1 | head`, does not end the training. */
function standardError(): NodeJS.WriteStream {
  const { stderr } = process
  if (!stderr.listeners('error').includes(ignore)) stderr.on('error', ignore)
  return stderr
}

/** Counts steps, examples and seconds. */
class Pace {
  epoch = 0
  steps = 0
  private examples = 0
  private start = 0
  private stepsPerEpoch: number | undefined

  constructor(private readonly options: ProgressOptions) {
    this.stepsPerEpoch = options.stepsPerEpoch
  }

  begin(epoch: number): void {
    this.epoch = epoch
    this.steps = 0
    this.examples = 0
    this.start = performance.now()
  }

  advance(step: number, examples = this.options.batchSize ?? 0): void {
    this.steps = step + 1
    this.examples += examples
  }

  end(): void {
    if (this.steps > 0) this.stepsPerEpoch = this.steps
  }

  get total(): number | undefined {
    return this.stepsPerEpoch
  }

  get title(): string {
    const epochs = String(this.options.epochs)
    return `Epoch ${String(this.epoch + 1).padStart(epochs.length)}/${epochs}`
  }

  get elapsed(): number {
    return (performance.now() - this.start) / 1000
  }

  get rate(): string {
    const [count, unit] = this.examples > 0 ? [this.examples, 'examples/s'] : [this.steps, 'steps/s']
    return count > 0 ? `${shortNumber(count / Math.max(this.elapsed, 1e-3))} ${unit}` : ''
  }

  /** Seconds until the last epoch ends, were every step as fast as this epoch's. */
  get left(): string {
    if (this.stepsPerEpoch === undefined || this.steps === 0) return ''
    const steps = this.stepsPerEpoch * (this.options.epochs - this.epoch) - this.steps
    return `${duration((Math.max(0, steps) * this.elapsed) / this.steps)} left`
  }
}

function plainLines(stream: Writable, pace: Pace): Progress {
  return {
    epochStart: epoch => pace.begin(epoch),
    step: (step, _logs, examples) => pace.advance(step, examples),
    epochEnd: (_epoch, logs = {}) => {
      stream.write(`${joined(pace.title, duration(pace.elapsed), values(logs), pace.rate)}\n`)
      pace.end()
    },
    stop: () => {},
  }
}

interface Payload {
  logs: Logs
  ended: boolean
}

function liveBar(options: ProgressOptions, stream: Writable, pace: Pace): Progress {
  const format = (_options: Options, _params: unknown, { logs, ended }: Payload) => {
    const rest = joined(values(logs), pace.rate, ended ? duration(pace.elapsed) : pace.left)
    const columns = (stream as NodeJS.WriteStream).columns ?? 80
    return joined(`${pace.title} ${barText(pace, columns - pace.title.length - rest.length)}`, rest)
  }
  // With `linewrap` the library cuts lines at the terminal's width, and changes no setting that a Ctrl-C would leave.
  const bar = new SingleBar({
    stream: stream as NodeJS.WriteStream,
    linewrap: true,
    format: format as Options['format'],
  })
  const payload: Payload = { logs: {}, ended: false }
  return {
    epochStart: epoch => {
      pace.begin(epoch)
      Object.assign(payload, { logs: {}, ended: false })
      bar.start(pace.total ?? options.epochs, 0, payload)
    },
    step: (step, logs = {}, examples) => {
      pace.advance(step, examples)
      payload.logs = logs
      bar.update(pace.steps, payload)
    },
    epochEnd: (_epoch, logs = {}) => {
      pace.end()
      Object.assign(payload, { logs, ended: true })
      bar.update(pace.steps, payload)
      bar.stop() // renders a last time and leaves the line standing
    },
    stop: () => bar.stop(),
  }
}

/** A bar and its count within `space` columns, but never shorter than eight. */
function barText({ steps, total }: Pace, space: number): string {
  if (total === undefined) return `step ${steps}`
  const count = ` ${String(steps).padStart(String(total).length)}/${total}`
  const width = Math.max(8, Math.min(24, space - count.length - 4))
  const filled = Math.round(width * Math.min(1, steps / Math.max(1, total)))
  return `${'━'.repeat(filled)}${'─'.repeat(width - filled)}${count}`
}

function joined(...parts: string[]): string {
  return parts.filter(part => part !== '').join(' · ')
}

function values(logs: Logs): string {
  return joined(
    ...Object.entries(logs).map(([name, value]) => `${name.replace(/\p{Control}/gu, '')} ${logNumber(value)}`),
  )
}

/** Four significant digits, and no exponent for the usual sizes. */
function logNumber(value: number): string {
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(3)
  return Number.isInteger(value) ? String(value) : value.toFixed(size < 100 ? 4 : 2)
}

function shortNumber(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`
  return value >= 1e4 ? `${(value / 1e3).toFixed(1)}k` : value.toFixed(value < 10 ? 1 : 0)
}

/** Seconds as 1h02m, 3m04s, 12s or 0.8s. */
function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)}s`
  const whole = Math.round(seconds)
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)]
  const two = (n: number) => String(n).padStart(2, '0')
  if (hours > 0) return `${hours}h${two(minutes)}m`
  return minutes > 0 ? `${minutes}m${two(whole % 60)}s` : `${whole}s`
}
