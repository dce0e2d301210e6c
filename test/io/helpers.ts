import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { AnnealError, type ErrorCode } from '../../src/errors'
import type { ByteSource } from '../../src/io/writer'

const folders: string[] = []
afterAll(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true })
})

/** A fresh folder that is removed after the test file. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'anneal-io-'))
  folders.push(folder)
  return folder
}

/** The bytes of a safetensors file with this header (text or object) and data. */
export function safetensors(header: unknown, data: Uint8Array | number = 0): Buffer {
  const text = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([prefix, text, typeof data === 'number' ? Buffer.alloc(data) : data])
}

/** A float32 source of these values. */
export function floats(...values: number[]): ByteSource {
  const bytes = new Uint8Array(new Float32Array(values).buffer)
  return { dtype: 'float32', shape: [values.length], bytes: async () => bytes }
}

/** The error of `action`, which must be an AnnealError of this code. */
export async function errorOf(code: ErrorCode, action: () => unknown): Promise<AnnealError> {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof AnnealError) || error.code !== code) throw error
    return error
  }
  throw new Error(`expected an AnnealError ${code}, got none`)
}

/** Reproducible integers: xorshift32. */
export function integers(seed: number): (below: number) => number {
  let state = seed | 1
  return below => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}
