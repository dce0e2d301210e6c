import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import crc32c from 'crc-32/crc32c.js'
import protobuf from 'protobufjs/light.js'
import { AnnealError } from '../errors'
import { asIoError } from './files'

// The fields of tensorflow's event.proto and summary.proto that scalars and histograms need.
const field = (type: string, id: number) => ({ type, id })
const schema = protobuf.Root.fromJSON({
  nested: {
    Histogram: {
      fields: {
        min: field('double', 1),
        max: field('double', 2),
        num: field('double', 3),
        sum: field('double', 4),
        sumSquares: field('double', 5),
        bucketLimit: { rule: 'repeated', options: { packed: true }, ...field('double', 6) },
        bucket: { rule: 'repeated', options: { packed: true }, ...field('double', 7) },
      },
    },
    Value: { fields: { tag: field('string', 1), simpleValue: field('float', 2), histo: field('Histogram', 5) } },
    Summary: { fields: { value: { rule: 'repeated', ...field('Value', 1) } } },
    Event: {
      fields: {
        wallTime: field('double', 1),
        step: field('int64', 2),
        fileVersion: field('string', 3),
        summary: field('Summary', 5),
      },
    },
  },
})
const Event = schema.lookupType('Event')

/** Bins of a histogram, as many as TensorBoard draws. */
const bins = 30

/**
 * Writes an event file that TensorBoard opens: `tensorboard --logdir <folder>`. Every call appends one record, so that
 * a kill loses at most the last. The format is TensorFlow's: TFRecords of Event protocol buffers.
 */
export class TensorBoardWriter {
  #last: Promise<void> = Promise.resolve()

  private constructor(
    private readonly file: FileHandle,
    readonly path: string,
  ) {}

  /** Creates a new event file in `folder`, which is created where missing. Throws ERR_IO. */
  static async open(folder: string): Promise<TensorBoardWriter> {
    const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, '0')
    const unique = `${process.pid}.${randomBytes(3).readUIntBE(0, 3)}`
    const path = join(folder, `events.out.tfevents.${seconds}.${hostname()}.${unique}`)
    try {
      await mkdir(folder, { recursive: true })
      const writer = new TensorBoardWriter(await open(path, 'wx'), path)
      await writer.#append({ fileVersion: 'brain.Event:2' })
      return writer
    } catch (error) {
      throw asIoError('write', path, error)
    }
  }

  /** Adds a point to the curve `tag`; `step` is a whole number. NaN and infinities are kept. */
  scalar(tag: string, value: number, step: number): Promise<void> {
    return this.#append({ step: checkedStep(tag, step), summary: { value: [{ tag, simpleValue: value }] } })
  }

  /** Adds a histogram of `values` over 30 equal bins from their minimum to their maximum; only finite values count. */
  histogram(tag: string, values: ArrayLike<number>, step: number): Promise<void> {
    return this.#append({ step: checkedStep(tag, step), summary: { value: [{ tag, histo: histogramOf(values) }] } })
  }

  /** Resolves when all is written and the file is closed. */
  async close(): Promise<void> {
    await this.#last
    await this.file.close()
  }

  #append(event: object): Promise<void> {
    const record = frame(Event.encode(Event.create({ wallTime: Date.now() / 1000, ...event })).finish())
    // Records must not interleave, so each waits for the one before; a failure is reported once, to its own caller.
    const turn = this.#last
      .then(() => this.file.appendFile(record))
      .catch(error => {
        throw asIoError('write', this.path, error)
      })
    this.#last = turn.catch(() => {})
    return turn
  }
}

function checkedStep(tag: string, step: number): number {
  if (Number.isSafeInteger(step)) return step
  throw new AnnealError('ERR_VALUE', `tensorboard: ${tag}: expected a whole number as step, got ${step}`)
}

/** A TFRecord: length, its checksum, the data, its checksum. */
function frame(data: Uint8Array): Uint8Array {
  const record = Buffer.alloc(data.length + 16)
  record.writeBigUInt64LE(BigInt(data.length), 0)
  record.writeUInt32LE(maskedCrc(record.subarray(0, 8)), 8)
  record.set(data, 12)
  record.writeUInt32LE(maskedCrc(data), 12 + data.length)
  return record
}

// TFRecords rotate and offset their CRC-32C, so that the checksum of data that itself holds checksums stays meaningful.
function maskedCrc(data: Uint8Array): number {
  const crc = crc32c.buf(data) >>> 0
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

function histogramOf(values: ArrayLike<number>): object {
  let [min, max, sum, sumSquares, num] = [Infinity, -Infinity, 0, 0, 0]
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number
    if (!Number.isFinite(value)) continue
    min = Math.min(min, value)
    max = Math.max(max, value)
    sum += value
    sumSquares += value * value
    num++
  }
  if (num === 0) return { min: 0, max: 0, num, sum, sumSquares, bucketLimit: [0], bucket: [0] }
  const width = (max - min) / bins
  if (!(width > 0)) return { min, max, num, sum, sumSquares, bucketLimit: [max], bucket: [num] }
  const bucketLimit = Array.from({ length: bins }, (_, i) => (i === bins - 1 ? max : min + width * (i + 1)))
  const bucket = new Array<number>(bins).fill(0)
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number
    if (!Number.isFinite(value)) continue
    const bin = Math.min(bins - 1, Math.floor((value - min) / width))
    bucket[bin] = (bucket[bin] as number) + 1
  }
  return { min, max, num, sum, sumSquares, bucketLimit, bucket }
}
