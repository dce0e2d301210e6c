import {
  Buffer,
  compile,
  type Explanation,
  losses,
  manualSeed,
  nn,
  optim,
  Parameter,
  randomNormal,
  type Tensor,
  tensor,
} from 'anneal'
import { afterEach, describe, expect, test } from 'vitest'
import { emulated, testDevice } from '../support/device'
import { flat } from '../support/values'

type Step = (x: Tensor, y: Tensor) => Tensor

/** A step of AdamW on a network with dropout and a batch norm. */
function training(): { step: Step; model: nn.Module; optimizer: optim.Optimizer } {
  manualSeed(7)
  const model = new nn.Sequential(
    new nn.Linear(6, 16),
    new nn.BatchNorm1d(16),
    new nn.ReLU(),
    new nn.Dropout(0.3),
    new nn.Linear(16, 3),
  )
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 })
  const step = (x: Tensor, y: Tensor) => {
    const loss = losses.crossEntropy(model.forward(x), y)
    loss.backward()
    optim.clipGradNorm(model.parameters(), 1)
    optimizer.step()
    optimizer.zeroGrad()
    return loss
  }
  return { step, model, optimizer }
}

const batch = (i: number, rows = 8): [Tensor, Tensor] => [
  randomNormal([rows, 6]),
  tensor(Int32Array.from({ length: rows }, (_, k) => (k * i) % 3)),
]

/** What `runs` calls give, with a learning rate that falls, and what is in the model then. */
async function trained({ model, optimizer }: ReturnType<typeof training>, run: Step, runs: number) {
  const results: number[][] = []
  for (let i = 0; i < runs; i++) {
    optimizer.lr = 0.02 * (1 - i / runs)
    results.push(await flat(run(...batch(i))))
  }
  for (const t of Object.values(model.stateDict())) results.push(await flat(t))
  return results
}

const replaysOf = async <A extends unknown[]>(run: { explain(...args: A): Promise<Explanation> }, ...args: A) =>
  (await run.explain(...args)).replays

describe.runIf(testDevice === 'cuda')('a compiled function on a GPU is one CUDA graph', () => {
  afterEach(() => {
    delete process.env.ANNEAL_EMULATE_FAIL
  })

  test('a training step with dropout and a learning rate that changes gives what separate calls give', async () => {
    const plain = training()
    const expected = await trained(plain, plain.step, 20)
    const captured = training()
    const run = compile(captured.step)
    expect(await trained(captured, run, 20)).toEqual(expected)
    // One launch for each run but the first, that of explain(), and one where memory has moved since the first.
    const { recorded, replayed, separate, problem } = (await replaysOf(run, ...batch(0)))!
    expect(problem).toBe('')
    expect(recorded).toBe(1)
    expect(replayed + separate).toBe(21)
    expect(replayed).toBeGreaterThanOrEqual(18)
    expect(String(await run.explain(...batch(0)))).toContain(`${replayed} runs as one CUDA graph`)
  })

  test('results stay what they were when the graph runs again', async () => {
    const run = compile((x: Tensor) => [x.mul(2), x, x.sum()])
    const results = Array.from({ length: 6 }, (_, i) => run(tensor([i, i, i, i, i])))
    for (const [i, [double, same, sum]] of results.entries()) {
      expect(await flat(double!)).toEqual(Array(5).fill(2 * i))
      expect(await flat(same!)).toEqual(Array(5).fill(i))
      expect(await sum!.item()).toBe(5 * i)
    }
    expect(await replaysOf(run, tensor([1, 2, 3, 4, 5]))).toMatchObject({ recorded: 1, replayed: 5 })
  })

  test('arguments may be scalars, views, of other dtypes, empty, and large', async () => {
    const sum = compile((a: Tensor, b: Tensor) => a.add(b).sum())
    for (let i = 0; i < 4; i++) expect(await sum(tensor(i), tensor(2)).item()).toBe(i + 2)
    const wide = randomNormal([600, 700])
    const last = compile((a: Tensor) => a.mul(2))
    for (let i = 0; i < 4; i++) {
      const view = wide.add(i).transpose(0, 1).narrow(0, i, 500)
      expect(await flat(last(view))).toEqual(await flat(view.mul(2)))
    }
    for (let i = 0; i < 3; i++) expect(await flat(last(tensor(new Float32Array(0))))).toEqual([])
    for (let i = 0; i < 3; i++) expect(await flat(last(tensor(BigInt64Array.of(3n))))).toEqual([6])
  })

  test('gradients that are left and added to', async () => {
    const weight = new Parameter(randomNormal([40, 3]))
    const run = compile((x: Tensor) => {
      x.mul(weight).sum().backward()
    })
    const kept: Tensor[] = []
    for (let i = 1; i <= 5; i++) {
      run(tensor(i))
      kept.push(weight.grad!)
    }
    const values = [1, 3, 6, 10, 15]
    for (const [i, grad] of kept.entries()) expect(new Set(await flat(grad))).toEqual(new Set([values[i]]))
  })

  test('parameters that are loaded are seen, and recorded anew', async () => {
    const layer = new nn.Linear(5, 4)
    const run = compile((x: Tensor) => layer.forward(x))
    const x = randomNormal([3, 5])
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 4; i++) expect(await flat(run(x))).toEqual(await flat(layer.forward(x)))
      layer.loadStateDict(new nn.Linear(5, 4).stateDict())
    }
    expect(await replaysOf(run, x)).toEqual({ recorded: 3, replayed: 9, separate: 4, problem: '' })
  })

  test('who keeps what a parameter was finds it unchanged', async () => {
    const { step, model } = training()
    const run = compile(step)
    const kept: [Record<string, Tensor>, Record<string, number[]>][] = []
    for (let i = 0; i < 6; i++) {
      run(...batch(i))
      const state = model.stateDict()
      const values = await Promise.all(Object.entries(state).map(async ([name, t]) => [name, await flat(t)] as const))
      if (i % 2 === 0) kept.push([state, Object.fromEntries(values)])
    }
    for (const [state, values] of kept)
      for (const [name, t] of Object.entries(state)) expect(await flat(t)).toEqual(values[name])
  })

  test('buffers that are assigned', async () => {
    const [a, b] = [new Buffer(tensor([1, 2, 3, 4, 5])), new Buffer(tensor([5, 4, 3, 2, 1]))]
    const swap = compile(() => {
      const old = a.detach()
      a.assign(b.mul(2))
      b.assign(old)
    })
    for (let i = 0; i < 6; i++) swap()
    expect(await flat(a)).toEqual([8, 16, 24, 32, 40])
    expect(await flat(b)).toEqual([40, 32, 24, 16, 8])
    expect(await replaysOf(swap)).toMatchObject({ recorded: 1 })
  })

  test('graphs share memory and may be dropped while they run', async () => {
    const { step } = training()
    const run = compile(step, { graphs: 2 })
    const found: Tensor[] = []
    for (let i = 0; i < 24; i++) found.push(run(...batch(i, 4 + (Math.floor(i / 3) % 4))))
    expect(run.graphs).toBe(2)
    run.dispose()
    for (const loss of found) expect(Number.isFinite(await loss.item())).toBe(true)
  })

  test('weights that are prepared once', async () => {
    const weight = new Buffer(randomNormal([6, 6]))
    const run = compile((x: Tensor) => x.matmul(weight.mul(weight).tanh()))
    const x = randomNormal([2, 6])
    for (let round = 0; round < 2; round++) {
      const expected = await flat(x.matmul(weight.mul(weight).tanh()))
      for (let i = 0; i < 4; i++) expect(await flat(run(x))).toEqual(expected)
      weight.assign(randomNormal([6, 6]))
    }
  })

  test('a mistake in the data rejects, and the graph goes on', async () => {
    const table = tensor([
      [1, 2, 3, 4, 5],
      [6, 7, 8, 9, 10],
    ])
    const run = compile((index: Tensor) => table.indexSelect(index, 0))
    for (let i = 0; i < 4; i++) expect(await flat(run(tensor(Int32Array.of(i % 2))))).toHaveLength(5)
    await expect(run(tensor(Int32Array.of(7))).data()).rejects.toThrow(/index 7/)
    expect(await flat(run(tensor(Int32Array.of(1))))).toEqual([6, 7, 8, 9, 10])
  })

  test.runIf(emulated)('what cannot be recorded runs as separate operations, and explain() says why', async () => {
    process.env.ANNEAL_EMULATE_FAIL = 'capture'
    const run = compile((x: Tensor) => x.mul(3))
    for (let i = 0; i < 4; i++) expect(await flat(run(tensor([i])))).toEqual([3 * i])
    const explanation = await run.explain(tensor([1]))
    expect(explanation.replays).toMatchObject({ recorded: 0, replayed: 0, separate: 5 })
    expect(explanation.replays!.problem).toMatch(/cudaErrorStreamCaptureInvalidated/)
    expect(String(explanation)).toContain('cannot be recorded')
  })

  test.runIf(emulated)('no memory for the graph is an error, and the next run does without', async () => {
    const run = compile((x: Tensor) => x.mul(3))
    expect(await flat(run(tensor([1])))).toEqual([3])
    process.env.ANNEAL_EMULATE_FAIL = 'instantiate'
    await expect(run(tensor([2])).data()).rejects.toThrow(/out of memory.*CUDA graph/)
    expect(await flat(run(tensor([3])))).toEqual([9])
  })
})
