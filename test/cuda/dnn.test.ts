// Attention by cuDNN: the emulator's takes the same descriptions, computes what they say, and fails where it is told to.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { compile, type DType, manualSeed, randomNormal, scaledDotProductAttention, type Tensor } from 'anneal'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { native } from '../../src/native'
import { emulated } from '../support/device'
import { flat } from '../support/values'

const folder = join(dirname(process.env.ANNEAL_CUDA_PATH ?? ''), 'dnn')
const there = emulated && existsSync(folder)
if (there) process.env.ANNEAL_CUDA_LIBRARIES = folder // before the library is asked for

interface Sizes {
  queries: number
  keys?: number
  depth: number
  width?: number
  heads?: number
  pairs?: number
}

/** Leaves, as the joint projection of self-attention gives them, and attention of them with its gradients. */
function problem({ queries, keys = queries, depth, width = depth, heads = 2, pairs = heads }: Sizes, dtype: DType) {
  const shapes = [
    [2, queries, heads, depth],
    [2, keys, pairs, depth],
    [2, keys, pairs, width],
  ]
  const inputs = shapes.map(shape => randomNormal(shape).cast(dtype).detach())
  const attend = (q: Tensor, k: Tensor, v: Tensor, causal: boolean) => {
    const heads = [q, k, v].map(x => x.permute([0, 2, 1, 3])) as [Tensor, Tensor, Tensor]
    return scaledDotProductAttention(...heads, undefined, { causal })
  }
  const both = async (causal: boolean, device?: 'cpu') => {
    const [q, k, v] = inputs.map(x => (device ? x.to(device) : x).detach().requireGrad()) as [Tensor, Tensor, Tensor]
    const y = attend(q, k, v, causal)
    y.mul(y.detach().add(1)).sum().backward()
    return Promise.all([y, q.grad!, k.grad!, v.grad!].map(flat))
  }
  return { inputs, attend, both }
}

const tolerances: Partial<Record<DType, number>> = { float16: 4e-3, bfloat16: 3e-2 }

async function compare(sizes: Sizes, dtype: DType, causal = true) {
  const { both } = problem(sizes, dtype)
  const [found, wanted] = [await both(causal), await both(causal, 'cpu')]
  for (const [i, values] of wanted.entries()) {
    const largest = Math.max(...values.map(Math.abs))
    const far = Math.max(...values.map((value, k) => Math.abs(value - found[i]![k]!)))
    expect(far / largest, `${dtype} ${['result', 'dq', 'dk', 'dv'][i]}`).toBeLessThan(tolerances[dtype]!)
  }
}

const facts = () => native.doctorCuda().attention ?? ''

describe.runIf(there)('attention by cuDNN', () => {
  afterEach(() => {
    delete process.env.ANNEAL_CUDA_ATTENTION
    delete process.env.ANNEAL_EMULATE_DNN
    vi.restoreAllMocks()
  })

  test('small problems are not worth making plans', async () => {
    expect(facts()).toContain('of large problems by cuDNN where that gives the same and is faster')
    await compare({ queries: 20, depth: 64 }, 'bfloat16')
    expect(facts()).toContain('of large problems by cuDNN')
  })

  // Emulated times are made up: now cuDNN, now the own kernels are faster.
  test('large ones are compared by their results and times', async () => {
    manualSeed(4)
    await compare({ queries: 90, depth: 64 }, 'bfloat16', true)
    await compare({ queries: 90, depth: 64 }, 'bfloat16', false)
    await compare({ queries: 70, depth: 32, heads: 4, pairs: 2 }, 'float16', true)
    await compare({ queries: 50, keys: 130, depth: 80, width: 104, heads: 1 }, 'bfloat16', true)
    await compare({ queries: 130, keys: 50, depth: 64, heads: 1 }, 'float16', true)
    const [taken, compared] = /faster: (\d+) of (\d+)/.exec(facts())!.slice(1).map(Number) as [number, number]
    expect(compared).toBe(10)
    expect(taken).toBeGreaterThan(0)
    expect(taken).toBeLessThan(10)
  })

  test('captured functions keep the choice', async () => {
    process.env.ANNEAL_CUDA_ATTENTION = 'cudnn'
    const { inputs, attend } = problem({ queries: 70, depth: 16 }, 'bfloat16')
    const step = compile((...of: Tensor[]) => attend(of[0]!, of[1]!, of[2]!, true))
    const first = await flat(step(...inputs))
    for (let i = 0; i < 3; i++) expect(await flat(step(...inputs))).toEqual(first)
    const { replays } = await step.explain(...inputs)
    expect(replays).toMatchObject({ problem: '' })
    expect(replays!.replayed).toBeGreaterThan(0)
  })

  test('wrong results are noticed, with a warning, and our kernels compute', async () => {
    process.env.ANNEAL_EMULATE_DNN = 'wrong'
    const before = facts()
    await compare({ queries: 90, depth: 40 }, 'bfloat16')
    const [taken] = /faster: (\d+)/.exec(facts())!.slice(1)
    expect(before).toContain(`faster: ${taken} of`)
  })

  test('a run that fails is one by our kernels', async () => {
    process.env.ANNEAL_CUDA_ATTENTION = 'cudnn'
    const sizes = { queries: 70, depth: 48 }
    const { both } = problem(sizes, 'bfloat16')
    const well = await both(true)
    process.env.ANNEAL_EMULATE_DNN = 'refuse'
    const own = await both(true)
    for (const [i, values] of well.entries()) {
      const largest = Math.max(...values.map(Math.abs))
      for (const [k, value] of values.entries()) expect(Math.abs(value - own[i]![k]!)).toBeLessThan(0.03 * largest)
    }
    await compare(sizes, 'bfloat16')
    await compare({ queries: 80, depth: 48 }, 'bfloat16')
  })
})
