import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { AnnealError } from '../errors'
import { CsvLog, TensorBoardWriter } from '../io'
import type { Plain } from '../io/json'
import type { Tensor } from '../tensor'
import type { Callback, Training } from './callback'
import { betterOf, isBetter } from './history'
import type { Logs } from './progress'

export interface MonitorOptions {
  /** The value to go by. Default: 'valLoss', or 'loss' where there is no validation. */
  monitor?: string
  /** Whether less or more is better. Default: from the name. */
  mode?: 'min' | 'max'
}

function monitored(logs: Logs, monitor: string | undefined): [name: string, value: number] {
  const name = monitor ?? ('valLoss' in logs ? 'valLoss' : 'loss')
  const value = logs[name]
  if (value === undefined) {
    throw new AnnealError('ERR_VALUE', `monitor: there is no '${name}'; there are ${Object.keys(logs).join(', ')}`)
  }
  return [name, value]
}

export interface EarlyStoppingOptions extends MonitorOptions {
  /** Epochs in a row without improvement that end the fit; 0 is as 1. Default: 0. */
  patience?: number
  /** The least change that counts as an improvement. Default: 0. */
  minDelta?: number
  /** Whether the model gets the values of its best epoch at the end. Default: false. */
  restoreBest?: boolean
}

/** Ends the fit when a value has stopped improving. */
export class EarlyStopping implements Callback {
  #best: number | undefined
  #waited = 0
  #bestState: Record<string, Tensor> | undefined

  constructor(private readonly options: EarlyStoppingOptions = {}) {}

  epochEnd(training: Training, logs: Logs): void {
    const { monitor, patience = 0, minDelta = 0, restoreBest } = this.options
    const [name, value] = monitored(logs, monitor)
    const mode = this.options.mode ?? betterOf(name)
    if (this.#best === undefined || isBetter(value, this.#best, mode, minDelta)) {
      this.#best = value
      this.#waited = 0
      if (restoreBest) this.#keep(training.model.stateDict())
    } else if (++this.#waited >= patience) {
      training.stop(`${name} has not improved on ${this.#best} for ${this.#waited} epochs`)
    }
  }

  fitEnd(training: Training): void {
    if (this.#bestState) training.model.loadStateDict(this.#bestState)
  }

  /** The next fit starts afresh. */
  close(): void {
    this.#best = undefined
    this.#waited = 0
    this.#keep(undefined)
  }

  #keep(state: Record<string, Tensor> | undefined): void {
    for (const tensor of Object.values(this.#bestState ?? {})) tensor.dispose()
    this.#bestState = state
  }

  state(): Plain {
    return { best: this.#best ?? null, waited: this.#waited }
  }

  tensors(): Record<string, Tensor> {
    return this.#bestState ?? {}
  }

  restore(state: Plain, tensors: Record<string, Tensor>): void {
    const { best, waited } = state as { best: number | null; waited: number }
    this.#best = best ?? undefined
    this.#waited = waited
    this.#keep(Object.keys(tensors).length > 0 ? tensors : undefined)
  }
}

export interface ModelCheckpointOptions extends MonitorOptions {
  /** 'last': after every epoch; 'best': when the monitored value improves. Default: 'last'. */
  keep?: 'last' | 'best'
  /** With 'last': save after this many updates too. */
  everySteps?: number
}

/** Saves checkpoints from which `fit({ resume })` continues exactly, each replacing the one before atomically. */
export class ModelCheckpoint implements Callback {
  readonly last = true
  #best: number | undefined
  // Whether the best, as noted, has not been saved yet.
  #due = false

  constructor(
    readonly folder: string,
    private readonly options: ModelCheckpointOptions = {},
  ) {}

  async stepEnd(training: Training): Promise<void> {
    const { everySteps, keep = 'last' } = this.options
    if (keep === 'last' && everySteps && training.step % everySteps === 0) await training.save(this.folder)
  }

  epochEnd(_training: Training, logs: Logs): void {
    if (this.options.keep !== 'best') return
    const [name, value] = monitored(logs, this.options.monitor)
    if (this.#best !== undefined && !isBetter(value, this.#best, this.options.mode ?? betterOf(name))) return
    this.#best = value
    this.#due = true
  }

  async epochDone(training: Training): Promise<void> {
    if (this.options.keep === 'best') await this.#saveDue(training)
    else await training.save(this.folder)
  }

  /** Saves what a fit had noted as the best when it died, if the checkpoint resumed from was saved before this one. */
  fitStart(training: Training): Promise<void> {
    return this.#saveDue(training)
  }

  async #saveDue(training: Training): Promise<void> {
    if (!this.#due) return
    this.#due = false
    await training.save(this.folder)
  }

  close(): void {
    this.#best = undefined
    this.#due = false
  }

  state(): Plain {
    return { best: this.#best ?? null, due: this.#due }
  }

  restore(state: Plain): void {
    const { best, due } = state as { best: number | null; due: boolean }
    this.#best = best ?? undefined
    this.#due = due
  }
}

/** Appends each epoch's values to a CSV file. */
export class CsvLogger implements Callback {
  #log: CsvLog | undefined

  constructor(readonly path: string) {}

  async epochEnd({ epoch }: Training, logs: Logs): Promise<void> {
    this.#log ??= await this.#open(epoch, ['epoch', ...Object.keys(logs)])
    await this.#log.row({ epoch, ...logs })
  }

  /** A fit that goes on after a resume goes on in the same file, without the epochs that it does again. */
  async #open(epoch: number, columns: readonly string[]): Promise<CsvLog> {
    const append = epoch > 0 && existsSync(this.path)
    if (append) {
      const [header, ...rows] = (await readFile(this.path, 'utf8')).split('\n')
      const kept = rows.filter(row => row !== '' && Number.parseInt(row, 10) < epoch)
      await writeFile(this.path, [header, ...kept, ''].join('\n'))
    }
    return CsvLog.open(this.path, { columns, append })
  }

  async close(): Promise<void> {
    await this.#log?.close()
    this.#log = undefined
  }
}

/** Writes each epoch's values as event files that TensorBoard opens. */
export class TensorBoard implements Callback {
  #writer: TensorBoardWriter | undefined

  constructor(readonly folder: string) {}

  async epochEnd({ step }: Training, logs: Logs): Promise<void> {
    this.#writer ??= await TensorBoardWriter.open(this.folder)
    for (const [name, value] of Object.entries(logs)) await this.#writer.scalar(name, value, step)
  }

  async close(): Promise<void> {
    await this.#writer?.close()
    this.#writer = undefined
  }
}
