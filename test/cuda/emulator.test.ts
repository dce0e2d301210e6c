// The emulator itself: the orders in which it runs threads and blocks, what it finds wrong with kernels, and how it
// places matrices.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'

const folders = [join(__dirname, '../../build-cuda-emulate')]
if (process.env.ANNEAL_CUDA_PATH) folders.unshift(dirname(process.env.ANNEAL_CUDA_PATH))
const program = folders.map(folder => join(folder, 'anneal_check_emulator')).find(existsSync)

function run(words: string[], order?: string) {
  const env = { ...process.env, OMP_NUM_THREADS: '1', LD_PRELOAD: '', ANNEAL_EMULATE_ORDER: order ?? '' }
  return spawnSync(program!, words, { encoding: 'utf8', env })
}

/** The threads in the order in which they come to the kernel's first line, as 'block.thread'. */
const orderOf = (order?: string) => run(['order'], order).stdout.trim().split(' ')

describe.skipIf(program === undefined)('the emulator', () => {
  test('finds planted races, and none in kernels without', () => {
    const { status, stdout, stderr } = run([])
    expect(status, stdout + stderr).toBe(0)
  })

  test('has the layouts of tensor cores that CuTe has, as kernels do', () => {
    const { status, stdout, stderr } = run(['layouts', join(__dirname, 'layouts/layouts.json')])
    expect(status, stdout + stderr).toBe(0)
  })

  test('takes threads and blocks in the order that is named', () => {
    const forward = orderOf()
    expect(forward).toHaveLength(256)
    expect(forward.slice(0, 3)).toEqual(['0.0', '0.1', '0.2'])
    expect(orderOf('reverse').slice(0, 3)).toEqual(['1.63', '1.62', '1.61'])
    const random = orderOf('random:1')
    expect(random).toEqual(orderOf('random:1'))
    expect(random).not.toEqual(orderOf('random:2'))
    expect(random).not.toEqual(forward)
    expect([...random].sort()).toEqual([...forward].sort())
    const warps = new Set(
      orderOf('warps:1')
        .slice(0, 32)
        .map(at => Math.floor(Number(at.split('.')[1]) / 32)),
    )
    expect(warps.size).toBe(1)
  })

  test('refuses an order that it does not know', () => {
    const { status, stderr } = run(['order'], 'sideways')
    expect(status).not.toBe(0)
    expect(stderr).toContain('ANNEAL_EMULATE_ORDER: sideways; expected forward, reverse, random:SEED or warps:SEED')
  })
})
