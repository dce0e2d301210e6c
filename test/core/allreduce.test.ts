// Sums over several devices: on whatever the tests run on, and on two GPUs or the emulator's two, with NCCL and without.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  allReduce,
  compile,
  type DeviceName,
  devices,
  doctor,
  losses,
  manualSeed,
  nn,
  optim,
  randomNormal,
  scope,
  type Tensor,
  tensor,
} from 'anneal'
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest'
import { findNative } from '../../src/load'
import { emulated, testDevice } from '../support/device'
import { codeOf } from '../support/thrown'
import { flat } from '../support/values'

// The emulator's devices have an NCCL of their own. Libraries are opened when the first sum asks for them.
const emulatedNccl = join(dirname(process.env.ANNEAL_CUDA_PATH ?? ''), 'nccl')
const libraries = process.env.ANNEAL_CUDA_LIBRARIES
if (emulated && existsSync(emulatedNccl)) process.env.ANNEAL_CUDA_LIBRARIES = emulatedNccl

describe('allReduce', () => {
  test('of one tensor is that tensor', async () => {
    const x = tensor([1, 2, 3])
    for (const op of ['sum', 'mean'] as const) {
      const [y] = allReduce([x], { op })
      expect(y!.device).toBe(x.device)
      expect(await flat(y!)).toEqual([1, 2, 3])
      y!.dispose()
    }
    expect(await flat(x)).toEqual([1, 2, 3])
    expect(await flat(allReduce([tensor([3, 4], { dtype: 'int64' })])[0]!)).toEqual([3, 4])
  })

  test('of one tensor passes gradients on, and is captured', async () => {
    const x = tensor([1, 2, 3], { requiresGrad: true })
    allReduce([x])[0]!.mul(2).sum().backward()
    expect(await flat(x.grad!)).toEqual([2, 2, 2])
    const twice = compile((a: Tensor) => allReduce([a.add(a)], { op: 'mean' })[0]!)
    for (let i = 0; i < 3; i++) expect(await flat(twice(tensor([i])))).toEqual([2 * i])
  })

  test('of several devices is refused inside of a captured function, which works on one', () => {
    const run = compile((a: Tensor) => allReduce([a, a.mul(2)])[0]!)
    expect(codeOf(() => run(tensor([1])))).toBe('ERR_CAPTURE')
  })

  test('refuses what it cannot add up, and says what was expected', () => {
    const [a, b] = [tensor([1, 2]), tensor([1, 2, 3])]
    expect(() => allReduce([])).toThrow(/expected a tensor of each device; got none/)
    expect(codeOf(() => allReduce([]))).toBe('ERR_VALUE')
    expect(() => allReduce([a, b])).toThrow('allReduce: shapes must be equal: [2] and, at position 1, [3]')
    expect(codeOf(() => allReduce([a, b]))).toBe('ERR_SHAPE')
    expect(() => allReduce([a, a.cast('float64')])).toThrow('dtypes must be equal: float32 and, at position 1, float64')
    expect(codeOf(() => allReduce([a, a.cast('float64')]))).toBe('ERR_DTYPE')
    expect(() => allReduce([a, a.mul(2)])).toThrow(/positions 0 and 1 are both on c.*; expected one of each device/)
    expect(codeOf(() => allReduce([a, a.mul(2)]))).toBe('ERR_DEVICE')
    expect(() => allReduce([tensor([true])])).toThrow(/bool cannot be added up; cast\(\)/)
    expect(codeOf(() => allReduce([tensor([1], { dtype: 'int32' })], { op: 'mean' }))).toBe('ERR_DTYPE')
    expect(() => allReduce([a], { op: 'max' as 'sum' })).toThrow(/expected op 'sum' or 'mean'; got 'max'/)
    for (const none of [a, [1], undefined] as unknown as Tensor[][])
      expect(codeOf(() => allReduce(none))).toBe('ERR_VALUE')
  })

  test.skipIf(testDevice === 'cpu')('of the CPU and a GPU goes by copies, with gradients', async () => {
    const a = tensor([1, 2, 3], { device: 'cpu', requiresGrad: true })
    const b = tensor([10, 20, 30], { device: testDevice })
    const [first, second] = allReduce([a, b], { op: 'mean' })
    expect([first!.device, second!.device]).toEqual(['cpu', b.device])
    expect(await flat(first!)).toEqual([5.5, 11, 16.5])
    expect(await flat(second!)).toEqual([5.5, 11, 16.5])
    second!.mul(4).sum().backward()
    expect(await flat(a.grad!)).toEqual([2, 2, 2])
  })
})

const gpus = testDevice === 'cpu' ? [] : devices().flatMap(({ name }) => (name === 'cpu' ? [] : [name]))
const line = (doctor().facts.CUDA as string[]).find(fact => fact.startsWith('NCCL: '))
const hasNccl = emulated ? existsSync(emulatedNccl) : /^NCCL: \d/.test(line ?? '')

/** `values` of each GPU, made there. */
const onEach = (make: (i: number) => Tensor) => gpus.map((name, i) => make(i).to(name))

describe.each([
  { way: 'copies', there: gpus.length > 1 },
  { way: 'NCCL', there: gpus.length > 1 && hasNccl },
])('several GPUs, by $way', ({ way, there }) => {
  const test = it.runIf(there)
  beforeEach(() => {
    if (way === 'copies') process.env.ANNEAL_CUDA_NCCL = '0'
  })
  afterEach(() => {
    delete process.env.ANNEAL_CUDA_NCCL
    delete process.env.ANNEAL_EMULATE_FAIL
  })

  test('every dtype, on each device', async () => {
    const floats = ['float32', 'float64', 'float16', 'bfloat16'] as const
    for (const dtype of [...floats, 'int8', 'uint8', 'int32', 'int64'] as const) {
      const total = gpus.reduce((n, _, i) => n + i + 1, 0)
      const inputs = onEach(i =>
        tensor(
          [
            [0, 1, 2],
            [3, 4, 5],
          ].map(row => row.map(v => v * (i + 1))),
          { dtype },
        ),
      )
      const results = allReduce(inputs)
      expect(results.map(t => t.device)).toEqual(gpus)
      expect(results.map(t => t.dtype)).toEqual(gpus.map(() => dtype))
      for (const t of results) expect(await flat(t), dtype).toEqual([0, 1, 2, 3, 4, 5].map(v => v * total))
      for (const t of allReduce(inputs.map(x => x.transpose(0, 1))))
        expect(await flat(t), dtype).toEqual([0, 3, 1, 4, 2, 5].map(v => v * total))
      for (const [i, x] of inputs.entries()) expect((await flat(x))[1], dtype).toBe(i + 1)
    }
    for (const dtype of floats) {
      const inputs = onEach(i => tensor([1, -2], { dtype }).mul(2 * i))
      for (const t of allReduce(inputs, { op: 'mean' }))
        expect(await flat(t), dtype).toEqual([gpus.length - 1, -2 * (gpus.length - 1)])
    }
  })

  test('scalars, nothing, and parts of tensors', async () => {
    for (const t of allReduce(onEach(i => tensor(i)))) expect(t.shape).toEqual([])
    for (const t of allReduce(onEach(() => tensor([], { shape: [0, 3] })))) expect(t.shape).toEqual([0, 3])
    const parts = allReduce(onEach(i => tensor([9, i, i, 9])).map(t => t.narrow(0, 1, 2)))
    const total = (gpus.length * (gpus.length - 1)) / 2
    for (const t of parts) expect(await flat(t)).toEqual([total, total])
  })

  test('the same bits on all, whatever order the list has', async () => {
    manualSeed(11)
    const inputs = onEach(() => randomNormal([10_007]))
    for (const list of [inputs, [...inputs].reverse()]) {
      const results = allReduce(list, { op: 'mean' })
      expect(results.map(t => t.device)).toEqual(list.map(t => t.device))
      const bits = await Promise.all(results.map(async t => Buffer.from(await t.bytes())))
      for (const other of bits) expect(other.equals(bits[0]!)).toBe(true)
    }
  })

  test('in the order of what is computed before and after, while memory is used again', async () => {
    const n = 10_007
    let xs = onEach(i => tensor(new Float32Array(n).fill(i)))
    const mean = (gpus.length - 1) / 2
    for (let i = 0; i < 20; i++) {
      const before = xs
      const moved = xs.map((x, k) => x.add(k))
      xs = allReduce(moved, { op: 'mean' }).map(t => t.sub(mean))
      for (const t of [...before, ...moved]) t.dispose()
      for (const device of gpus) tensor(new Float32Array(n).fill(-7), { device }).dispose()
    }
    for (const x of xs) expect(new Set(await flat(x))).toEqual(new Set([mean]))
  })

  test('a mistake in what one brings is a mistake of all results, and of no later ones', async () => {
    for (const wrong of gpus.keys()) {
      const inputs = onEach(i => tensor([1, 2, i]))
      const index = tensor([wrong === 0 ? 7 : 8], { dtype: 'int64', device: gpus[wrong]! })
      const broken = inputs.map((x, i) => (i === wrong ? x.indexSelect(index, 0) : x.narrow(0, 0, 1)))
      for (const t of allReduce(broken)) {
        await expect(t.mul(2).data()).rejects.toMatchObject({ code: 'ERR_INDEX' })
        t.dispose()
      }
      for (const t of allReduce(inputs.map(x => x.narrow(0, 0, 1)))) expect(await flat(t)).toEqual([gpus.length])
    }
  })

  test('gradients flow back to every device', async () => {
    const xs = onEach(i => tensor([i, 1])).map(x => x.requireGrad())
    const [first, second] = allReduce(xs, { op: 'mean' })
    first!.mul(2).sum().add(second!.mul(4).sum().to(first!.device)).backward()
    for (const [i, x] of xs.entries()) {
      expect(x.grad!.device).toBe(gpus[i])
      for (const g of await flat(x.grad!)) expect(g).toBeCloseTo(6 / gpus.length, 6)
    }
  })

  test('replicas that average their gradients learn as one model does from the whole batch', async () => {
    const [together] = await trained([gpus[0]!], false)
    for (const captured of [false, true]) {
      const apart = await trained(gpus, captured)
      for (const state of apart) {
        for (const [name, values] of Object.entries(state)) {
          expect(values, name).toEqual(apart[0]![name])
          for (const [i, v] of values.entries()) expect(v).toBeCloseTo(together![name]![i]!, 5)
        }
      }
    }
  })

  it.runIf(there && emulated && way === 'NCCL')('what NCCL says is said, and the next sum works', async () => {
    const sum = () => allReduce(onEach(() => tensor([1, 2])))
    for (const t of sum()) expect(await flat(t)).toEqual([2, 4])
    process.env.ANNEAL_EMULATE_FAIL = 'nccl-start'
    for (const t of sum())
      await expect(t.data()).rejects.toThrow(
        /allReduce: NCCL 2\.99\.99: starting a sum failed: invalid usage \(what NCCL knows more\).*ANNEAL_CUDA_NCCL=0/,
      )
    delete process.env.ANNEAL_EMULATE_FAIL
    const results = sum()
    for (const t of results) expect(await flat(t)).toEqual([2, 4])
    process.env.ANNEAL_EMULATE_FAIL = 'nccl-later'
    await expect(results[0]!.data()).rejects.toMatchObject({
      code: 'ERR_DEVICE',
      message: expect.stringMatching(/a sum failed: unhandled/),
    })
  })
})

/** The state of each replica after some steps on the same data, of which each device has a part. */
async function trained(names: readonly DeviceName[], captured: boolean): Promise<Record<string, number[]>[]> {
  manualSeed(5)
  const replicas = names.map(name =>
    new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 3)).to(name),
  )
  for (const replica of replicas.slice(1)) replica.loadStateDict(replicas[0]!.stateDict())
  const optimizers = replicas.map(replica => new optim.SGD(replica.parameters(), { lr: 0.1, momentum: 0.9 }))
  const parameters = replicas.map(replica => replica.parameters())
  const backward = replicas.map(replica => {
    const run = (x: Tensor, y: Tensor) => losses.crossEntropy(replica.forward(x), y).backward()
    return captured ? compile(run) : run
  })
  manualSeed(6) // of the data: replicas were drawn in any number
  for (let step = 0; step < 4; step++) {
    scope(() => {
      const xs = randomNormal([4 * gpus.length, 4]).chunk(names.length)
      const ys = tensor(Int32Array.from({ length: 4 * gpus.length }, (_, i) => (i + step) % 3)).chunk(names.length)
      for (const [i, name] of names.entries()) backward[i]!(xs[i]!.to(name), ys[i]!.to(name))
      for (const k of parameters[0]!.keys()) {
        const grads = parameters.map(own => own[k]!.grad!)
        for (const [i, mean] of allReduce(grads, { op: 'mean' }).entries()) parameters[i]![k]!.grad = mean
      }
      for (const optimizer of optimizers) {
        optimizer.step()
        optimizer.zeroGrad()
      }
    })
  }
  const valuesOf = async (t: [string, Tensor]) => [t[0], await flat(t[1])]
  return Promise.all(
    replicas.map(async replica =>
      Object.fromEntries(await Promise.all(Object.entries(replica.stateDict()).map(valuesOf))),
    ),
  )
}

describe.skipIf(testDevice === 'cpu')('doctor names NCCL', () => {
  const found = findNative()
  if ('failure' in found) throw new Error('no addon')
  const program = `console.log(require(${JSON.stringify(found.path)}).doctorCuda().NCCL)`
  const said = (env: NodeJS.ProcessEnv) =>
    execFileSync(process.execPath, ['-e', program], { env: { ...process.env, ...env }, encoding: 'utf8' })

  test('with version and place, or with what is missing and the remedy', () => {
    expect(said({ ANNEAL_CUDA_LIBRARIES: libraries ?? '' })).toMatch(
      /^(2\.\d+\.\d+ \(.*libnccl\.so\.2.*\)|NCCL is missing \(no libnccl\.so\.2 .*pip install .*only sums over several GPUs)/,
    )
  })

  test.runIf(emulated && existsSync(emulatedNccl))('if it is too old or not wanted, too', () => {
    const env = { ANNEAL_CUDA_LIBRARIES: emulatedNccl }
    expect(said(env)).toMatch(/^2\.99\.99 \(.*libnccl\.so\.2\)$/m)
    expect(said({ ...env, ANNEAL_CUDA_NCCL: '0' })).toContain('not used: ANNEAL_CUDA_NCCL=0')
    expect(said({ ...env, ANNEAL_EMULATE_FAIL: 'nccl-version' })).toMatch(
      /^NCCL is too old: 2\.18\.3 \(.*\); version 2\.19\.0 or later is needed: pip install nvidia-nccl-cu13/,
    )
  })
})
