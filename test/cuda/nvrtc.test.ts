// Kernels for joined operations as NVRTC compiles them: every functor in every dtype, every way of moving operands. It needs
// NVRTC and a build of the CUDA backend or of its emulator, but no GPU.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(__dirname, '../..')
const folders = ['build-cuda', 'build-cuda-emulate'].map(name => join(root, name))
if (process.env.ANNEAL_CUDA_PATH) folders.unshift(dirname(process.env.ANNEAL_CUDA_PATH))
const program = folders.map(folder => join(folder, 'anneal_compile_fused')).find(existsSync)

test('generated kernels compile for GPUs of compute capability 8.0 and 9.0, without spilling registers', ({ skip }) => {
  if (program === undefined) skip('no build of the CUDA backend or its emulator')
  const { status, stdout, stderr } = spawnSync(program!, ['80', '90'], { encoding: 'utf8' })
  if (status === 77) skip(stdout)
  expect(status, stdout + stderr).toBe(0)
  expect(stdout).toMatch(/^[1-9]\d* kernels compiled by NVRTC/m)
}, 900_000)
