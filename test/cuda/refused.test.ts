// A GPU on which kernels that are compiled at run time cannot be loaded, such as one whose driver does not take what NVRTC
// makes: operations run one by one.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compile, type Tensor, tensor } from 'anneal'
import { afterAll, describe, expect, test } from 'vitest'
import { emulated } from '../support/device'

const folder = mkdtempSync(join(tmpdir(), 'anneal-refused-'))
afterAll(() => rmSync(folder, { recursive: true }))
process.env.ANNEAL_CUDA_EMULATE_COMPILER = '/bin/false' // before the compiler is asked for
process.env.ANNEAL_CUDA_CACHE = folder

describe.runIf(emulated && process.env.ANNEAL_CUDA_FUSION !== '0')('kernels that no device takes', () => {
  test('are done without, and explain() says why', async () => {
    const run = compile((a: Tensor) => a.exp().mul(2).add(a))
    const a = tensor([0.5, -1, 2])
    const wanted = await a.exp().mul(2).add(a).data()
    for (let i = 0; i < 3; i++) expect(await run(a).data()).toEqual(wanted)
    const { operations, notes } = await run.explain(a)
    expect(operations.map(({ name }) => name)).toEqual(['exp', 'mul', 'add'])
    expect(notes.join()).toMatch(
      /not joined: .*a kernel of joined operations could not be made: \/bin\/false ended with 1/,
    )
  })
})
