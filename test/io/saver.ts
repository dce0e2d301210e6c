// Run as a process of its own by kill.test.ts: saves checkpoints without pause until it is killed.
import { writeSync } from 'node:fs'
import { writeCheckpoint } from '../../src/io/state'
import type { ByteSource } from '../../src/io/writer'

const elements = 20_000

/** A source in four pieces whose every element is `value`. */
function filled(value: number): ByteSource {
  const piece = new Uint8Array(new Float32Array(elements / 4).fill(value).buffer)
  async function* bytes() {
    for (let i = 0; i < 4; i++) yield piece
  }
  return { dtype: 'float32', shape: [elements], bytes }
}

async function main([folder, first]: string[]): Promise<void> {
  for (let step = Number(first); ; step++) {
    const optimizer = { tensors: { momentum: filled(-step) }, state: { lr: 1 / step } }
    await writeCheckpoint(folder as string, { model: { weight: filled(step) }, optimizer, epoch: 0, step })
    writeSync(1, `${step}\n`)
  }
}

void main(process.argv.slice(2))
