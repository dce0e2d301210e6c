import { appendFile, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import protobuf from 'protobufjs/minimal.js'
import { describe, expect, test } from 'vitest'
import { CsvLog } from '../../src/io/csvlog'
import { TensorBoardWriter } from '../../src/io/tensorboard'
import { errorOf, temporaryFolder } from './helpers'

/** CRC-32C bit by bit, as RFC 3720 defines it. */
function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of data) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return (crc ^ 0xffffffff) >>> 0
}

const masked = (data: Uint8Array) => {
  const crc = BigInt(crc32c(data))
  return Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn)
}

/** The records of a TFRecord file, whose checksums must be right. */
function records(file: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at))
    const data = file.subarray(at + 12, at + 12 + length)
    expect(file.readUInt32LE(at + 8)).toBe(masked(file.subarray(at, at + 8)))
    expect(file.readUInt32LE(at + 12 + length)).toBe(masked(data))
    found.push(data)
    at += 16 + length
  }
  return found
}

/** The fields of a protocol buffer by number: numbers, or bytes for what has a length. */
function fields(data: Uint8Array): Record<number, number | Uint8Array> {
  const reader = protobuf.Reader.create(data)
  const found: Record<number, number | Uint8Array> = {}
  while (reader.pos < reader.len) {
    const [id, wire] = ((key: number) => [key >>> 3, key & 7])(reader.uint32())
    found[id!] =
      wire === 0 ? Number(reader.int64()) : wire === 1 ? reader.double() : wire === 5 ? reader.float() : reader.bytes()
  }
  return found
}

const doubles = (bytes: Uint8Array) =>
  Array.from({ length: bytes.length / 8 }, (_, i) => Buffer.from(bytes).readDoubleLE(i * 8))

describe('TensorBoard event files', () => {
  test('scalars come back from an independent reading of the file', async () => {
    const writer = await TensorBoardWriter.open(join(await temporaryFolder(), 'runs/a'))
    await Promise.all([writer.scalar('loss/träin', 0.5, 0), writer.scalar('loss/träin', NaN, 3_000_000_000)])
    await writer.close()
    expect(writer.path).toMatch(/events\.out\.tfevents\.\d{10}\./)
    const events = records(await readFile(writer.path)).map(fields)
    expect(events).toHaveLength(3)
    expect(Buffer.from(events[0]![3] as Uint8Array).toString()).toBe('brain.Event:2')
    expect(Math.abs((events[0]![1] as number) - Date.now() / 1000)).toBeLessThan(3600)
    const values = events.slice(1).map(event => fields(fields(event[5] as Uint8Array)[1] as Uint8Array))
    expect(values.map(value => Buffer.from(value[1] as Uint8Array).toString())).toEqual(['loss/träin', 'loss/träin'])
    expect(values.map(value => value[2])).toEqual([0.5, NaN])
    expect(events.map(event => event[2])).toEqual([undefined, undefined, 3_000_000_000])
  })

  test('a histogram counts every finite value', async () => {
    const writer = await TensorBoardWriter.open(await temporaryFolder())
    await writer.histogram('weights', Float32Array.from([-1, 0, 0.5, 1, 1, NaN, Infinity]), 1)
    await writer.histogram('constant', [3, 3], 1)
    await writer.histogram('none', [], 1)
    await writer.close()
    const histograms = records(await readFile(writer.path))
      .slice(1)
      .map(data => fields(fields(fields(fields(data)[5] as Uint8Array)[1] as Uint8Array)[5] as Uint8Array))
    const [weights, constant, none] = histograms
    expect([weights![1], weights![2], weights![3], weights![4], weights![5]]).toEqual([-1, 1, 5, 1.5, 3.25])
    const [limits, counts] = [doubles(weights![6] as Uint8Array), doubles(weights![7] as Uint8Array)]
    expect([limits.length, limits.at(-1), counts[0], counts.at(-1)]).toEqual([30, 1, 1, 2])
    expect(counts.reduce((a, b) => a + b)).toBe(5)
    expect(doubles(constant![7] as Uint8Array)).toEqual([2])
    expect(doubles(none![7] as Uint8Array)).toEqual([0])
  })

  test('a step that is no whole number is refused', async () => {
    const writer = await TensorBoardWriter.open(await temporaryFolder())
    expect((await errorOf('ERR_VALUE', async () => writer.scalar('loss', 1, 0.5))).message).toMatch(/loss.*got 0.5/)
    await writer.close()
    await expect(writer.scalar('loss', 1, 1)).rejects.toThrow()
  })
})

describe('CSV logs', () => {
  const fresh = async () => join(await mkdtemp(join(await temporaryFolder(), 'log-')), 'history.csv')

  test('every row is in the file when its call resolves', async () => {
    const path = await fresh()
    const log = await CsvLog.open(path)
    await log.row({ epoch: 0, loss: 0.1 + 0.2, note: 'a "b", c\nd' })
    expect(await readFile(path, 'utf8')).toBe('epoch,loss,note\n0,0.30000000000000004,"a ""b"", c d"\n')
    await Promise.all([log.row({ epoch: 1, loss: NaN }), log.row({ epoch: 2, note: null })])
    await log.close()
    expect((await readFile(path, 'utf8')).split('\n').slice(-3)).toEqual(['1,NaN,', '2,,', ''])
  })

  test('appending goes on after the last whole line', async () => {
    const path = await fresh()
    await writeFile(path, 'epoch,"a ""b"", c"\n0,ß\n1,0.') // a kill in the middle of the second row
    const log = await CsvLog.open(path, { append: true })
    await log.row({ epoch: 1, 'a "b", c': 2 })
    await log.close()
    expect(await readFile(path, 'utf8')).toBe('epoch,"a ""b"", c"\n0,ß\n1,2\n')
    await appendFile(path, 'x')
    await (await CsvLog.open(path)).close()
    expect(await readFile(path, 'utf8')).toBe('')
  })

  test('unknown columns are refused', async () => {
    const path = await fresh()
    const log = await CsvLog.open(path, { columns: ['epoch', 'loss'] })
    expect((await errorOf('ERR_VALUE', () => log.row({ acc: 1 }))).message).toMatch(/columns epoch,loss, got acc/)
    await log.close()
    await errorOf('ERR_FORMAT', () => CsvLog.open(path, { columns: ['epoch'], append: true }))
    await errorOf('ERR_IO', () => CsvLog.open(join(path, 'below')))
  })
})
