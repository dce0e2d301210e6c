// A captured step whose data have a mistake, such as a label that is no class: on a GPU it is found by a kernel, when those after it
// have been started already.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  compile,
  devices,
  io,
  losses,
  manualSeed,
  nn,
  noGrad,
  optim,
  Parameter,
  randomNormal,
  synchronize,
  type Tensor,
  tensor,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'
import { flat } from '../support/values'
import { network, stepOf } from './networks'

const optimizers: Record<string, (params: Parameter[]) => optim.Optimizer> = {
  SGD: params => new optim.SGD(params, { lr: 0.1, momentum: 0.9 }),
  AdamW: params => new optim.AdamW(params, { lr: 0.01 }),
  LAMB: params => new optim.LAMB(params),
  Adafactor: params => new optim.Adafactor(params),
}

/** Six labels of two classes, of which one may be none. */
const labels = (label = 1) => tensor(Int32Array.of(0, 1, label, 1, 0, 1))
const valuesOf = (model: nn.Module) => Promise.all([...model.parameters(), ...model.buffers()].map(t => flat(t)))
const mistaken = { code: 'ERR_INDEX' }

describe('a run with a mistake in its data leaves parameters and buffers as they were', () => {
  test.each(Object.entries(optimizers))('%s', async (_, make) => {
    const model = network()
    const run = compile(stepOf(model, make(model.parameters()), 'norm', false).step)
    // Somebody who keeps old values has new ones written to other memory.
    for (const held of [false, false, false, true, false]) {
      const before = await valuesOf(model)
      const state = held ? model.stateDict() : {}
      await expect(run(randomNormal([6, 3]), labels(5)).item()).rejects.toMatchObject(mistaken)
      expect(await valuesOf(model)).toEqual(before)
      expect(Number.isFinite(await run(randomNormal([6, 3]), labels()).item())).toBe(true)
      const after = await valuesOf(model)
      expect(after[0]).not.toEqual(before[0])
      expect(after.flat().every(Number.isFinite)).toBe(true)
      if (held) expect(await flat(state['first.weight']!)).toEqual(before[0])
    }
  })
})

test('runs after one with a mistake, and queued behind it, give what they give without it', async () => {
  const trained = async (mistakes: boolean) => {
    manualSeed(3)
    const model = new nn.Sequential(new nn.Linear(3, 8), new nn.BatchNorm1d(8), new nn.ReLU(), new nn.Linear(8, 2))
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
    const run = compile((x: Tensor, y: Tensor) => {
      const loss = losses.crossEntropy(model.forward(x), y)
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    })
    const batches = Array.from({ length: 6 }, () => randomNormal([6, 3]))
    const found: [Tensor | undefined, Tensor][] = []
    for (const x of batches) found.push([mistakes ? run(x, labels(5)) : undefined, run(x, labels())])
    for (const [wrong, loss] of found) {
      if (wrong) await expect(wrong.item()).rejects.toMatchObject(mistaken)
      expect(Number.isFinite(await loss.item())).toBe(true)
    }
    return valuesOf(model)
  }
  expect(await trained(true)).toEqual(await trained(false))
})

/** Rows of `x`, of which one does not exist. */
const missingRow = (x: Tensor) => x.indexSelect(tensor(Int32Array.of(0, 1, 2, 3, 4, 9)), 0)

describe('a run whose arguments come of a mistake leaves parameters and buffers as they were', () => {
  // The kernels that find it may be under way when the run is queued, or have ended.
  const settled = [false, true]
  const meanSquare = (model: nn.Module & { forward(x: Tensor): Tensor }, optimizer: optim.Optimizer) =>
    compile((x: Tensor) => {
      const loss = model.forward(x).square().mean()
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    })

  test.each(Object.entries(optimizers))('%s', async (_, make) => {
    const model = network()
    const run = meanSquare(model, make(model.parameters()))
    for (const held of [false, false, false, true, false, false])
      for (const wait of settled) {
        const before = await valuesOf(model)
        const state = held ? model.stateDict() : {}
        const bad = missingRow(randomNormal([6, 3]))
          .mul(2)
          .add(1)
        if (wait) await synchronize()
        const [wrong, right] = [run(bad), run(randomNormal([6, 3]))]
        await expect(wrong.item()).rejects.toMatchObject(mistaken)
        expect(Number.isFinite(await right.item())).toBe(true)
        const after = await valuesOf(model)
        expect(after[0]).not.toEqual(before[0])
        expect(after.flat().every(Number.isFinite)).toBe(true)
        const again = run(missingRow(randomNormal([6, 3])))
        await expect(again.item()).rejects.toMatchObject(mistaken)
        expect(await valuesOf(model)).toEqual(after)
        if (held) expect(await flat(state['first.weight']!)).toEqual(before[0])
      }
  })

  test('after as many as you like, and with many that may', async () => {
    const model = network()
    const run = meanSquare(model, new optim.SGD(model.parameters(), { lr: 0.1 }))
    const before = await valuesOf(model)
    const rows = tensor(Int32Array.of(0, 1, 2, 3, 4, 5))
    const wrong: Tensor[] = []
    for (let i = 0; i < 10; i++) {
      let x = missingRow(randomNormal([6, 3]))
      for (let k = 0; k < 20 * i; k++) x = x.indexSelect(rows, 0)
      wrong.push(run(x))
    }
    for (const loss of wrong) await expect(loss.item()).rejects.toMatchObject(mistaken)
    expect(await valuesOf(model)).toEqual(before)
    let x = randomNormal([6, 3])
    for (let k = 0; k < 100; k++) x = x.indexSelect(rows, 0)
    expect(Number.isFinite(await run(x).item())).toBe(true)
    expect((await valuesOf(model))[0]).not.toEqual(before[0])
  })

  test('where they are what another run left', async () => {
    const [first, second] = [new nn.Linear(3, 3), network()]
    const forward = compile((x: Tensor, rows: Tensor) => first.forward(x).indexSelect(rows, 0).detach())
    const run = meanSquare(second, new optim.SGD(second.parameters(), { lr: 0.1, momentum: 0.9 }))
    const rows = (last: number) => tensor(Int32Array.of(0, 1, 2, 3, 4, last))
    for (let i = 0; i < 4; i++) {
      const before = await valuesOf(second)
      const wrong = run(forward(randomNormal([6, 3]), rows(9)))
      await expect(wrong.item()).rejects.toMatchObject(mistaken)
      expect(await valuesOf(second)).toEqual(before)
      expect(Number.isFinite(await run(forward(randomNormal([6, 3]), rows(5))).item())).toBe(true)
    }
  })

  test('where they are gradients that it adds to', async () => {
    const model = new nn.Sequential(new nn.Linear(3, 8), new nn.Tanh(), new nn.Linear(8, 2))
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
    const run = compile((x: Tensor) => {
      const loss = model.forward(x).square().mean()
      loss.backward()
      optimizer.step()
      return loss
    })
    for (const wait of settled) {
      const parameters = await Promise.all(model.parameters().map(flat))
      model
        .forward(missingRow(randomNormal([6, 3])))
        .square()
        .mean()
        .backward()
      if (wait) await synchronize()
      await expect(run(randomNormal([6, 3])).item()).rejects.toMatchObject(mistaken)
      expect(await Promise.all(model.parameters().map(flat))).toEqual(parameters)
      optimizer.zeroGrad()
      model
        .forward(randomNormal([6, 3]))
        .square()
        .mean()
        .backward()
    }
  })

  const gpus = testDevice === 'cpu' ? [] : devices().filter(({ name }) => name !== 'cpu')
  test.skipIf(gpus.length < 2)('where they come from another GPU', async () => {
    const model = network()
    const run = meanSquare(model, new optim.SGD(model.parameters(), { lr: 0.1 }))
    for (const wait of settled) {
      const before = await valuesOf(model)
      const rows = tensor(Int32Array.of(0, 1, 2, 3, 4, 9), { device: 'cuda:1' })
      const bad = randomNormal([6, 3]).to('cuda:1').indexSelect(rows, 0).to('cuda:0')
      if (wait) await synchronize()
      await expect(run(bad).item()).rejects.toMatchObject(mistaken)
      expect(await valuesOf(model)).toEqual(before)
      expect(Number.isFinite(await run(randomNormal([6, 3])).item())).toBe(true)
    }
  })
})

test('a parameter that comes of a mistake rejects until it has another value, whoever keeps it', async () => {
  const layer = new nn.Linear(3, 3)
  const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 })
  const run = compile((x: Tensor) => {
    const loss = layer.forward(x).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zeroGrad()
    return loss
  })
  const x = randomNormal([6, 3])
  const state = Object.fromEntries(Object.entries(layer.stateDict()).map(([name, t]) => [name, t.add(0)]))
  await run(x).item()
  layer.weight.assign(layer.weight.indexSelect(tensor(Int32Array.of(0, 1, 7)), 0))
  for (const held of [false, true, false]) {
    const kept = held ? layer.stateDict() : {}
    await expect(run(x).item()).rejects.toMatchObject(mistaken)
    await expect(layer.weight.data()).rejects.toMatchObject(mistaken)
    if (held) await expect(kept.weight!.data()).rejects.toMatchObject(mistaken)
  }
  layer.loadStateDict(state)
  expect(Number.isFinite(await run(x).item())).toBe(true)
})

test('what is prepared from weights is prepared, though the first data have a mistake', async () => {
  const model = new nn.Sequential(new nn.Conv2d(3, 4, 3), new nn.BatchNorm2d(4)).eval()
  const run = compile((x: Tensor, rows: Tensor) => model.forward(x).indexSelect(rows, 0))
  const x = randomNormal([2, 4, 4, 3])
  const expected = await flat(noGrad(() => model.forward(x)))
  await expect(noGrad(() => run(x, tensor(Int32Array.of(0, 7)))).data()).rejects.toMatchObject(mistaken)
  for (let i = 0; i < 3; i++) {
    const found = await flat(noGrad(() => run(x, tensor(Int32Array.of(0, 1)))))
    for (const [k, value] of found.entries()) expect(value).toBeCloseTo(expected[k]!, 5)
  }
})

test('runs that are queued behind one whose arguments come of a mistake have what is prepared from weights', async () => {
  const weight = new Parameter(randomNormal([64, 64]))
  const run = compile((x: Tensor) => x.matmul(weight.mul(2)))
  const x = randomNormal([4, 64])
  const expected = await flat(x.matmul(weight.mul(2)))
  const busy = randomNormal([600, 600])
  busy.matmul(busy)
  const wrong = run(x.indexSelect(tensor(Int32Array.of(0, 1, 2, 99)), 0))
  const right = run(x)
  await expect(wrong.data()).rejects.toMatchObject(mistaken)
  for (const found of [await flat(right), await flat(run(x))])
    for (const [k, value] of found.entries()) expect(value).toBeCloseTo(expected[k]!, 3)
})

test.each([true, false])('parameters mapped from a file stay as they were, too (captured: %s)', async captured => {
  const folder = await mkdtemp(join(tmpdir(), 'anneal-mistakes-'))
  try {
    const path = join(folder, 'weights.safetensors')
    const model = network()
    const parametersOf = (model: nn.Module) => Promise.all(model.parameters().map(p => flat(p)))
    await io.saveSafetensors(path, model.stateDict())
    const { step } = stepOf(model, new optim.Adafactor(model.parameters()), 'norm', false)
    const run = captured ? compile(step) : step
    for (let i = 0; i < 3; i++) {
      model.loadStateDict(await io.loadSafetensors(path))
      const before = await parametersOf(model)
      const lost = run(randomNormal([6, 3]), labels(5))
      await expect(lost.item()).rejects.toMatchObject(mistaken)
      expect(await parametersOf(model)).toEqual(before)
      expect(Number.isFinite(await run(randomNormal([6, 3]), labels()).item())).toBe(true)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})
