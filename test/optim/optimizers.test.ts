import { readFileSync } from 'node:fs'
import { noGrad, optim, Parameter, scope, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'

// make.py beside this file computed what is expected, with PyTorch.
const golden = JSON.parse(readFileSync(new URL('trajectories.json', import.meta.url), 'utf8')) as {
  optimizers: Record<string, number[][]>
  schedules: Record<string, number[]>
}

function start(shape: readonly number[], dtype: 'float32' | 'float64'): Parameter {
  const size = shape.reduce((a, b) => a * b, 1)
  const values = Float64Array.from({ length: size }, (_, i) => ((i * 13) % 29) / 14 - 1)
  return new Parameter(tensor(values, { shape, dtype }))
}

function setGradient(p: Parameter, step: number): void {
  const values = Float64Array.from({ length: p.size }, (_, i) => (((i * 37 + step * 11) % 17) / 8 - 1) * 0.5)
  const offset = tensor(values, { shape: p.shape, dtype: p.dtype })
  p.grad = noGrad(() => p.sub(0.3).mul(0.7).add(offset))
}

type Make = (parameters: Parameter[]) => optim.Optimizer
const vectors = [[3, 4], [5]]
const matrices = [
  [3, 4],
  [5, 2],
]
const optimizers: Record<string, [Make, number[][]?]> = {
  sgd: [p => new optim.SGD(p, { lr: 0.1 })],
  'sgd momentum': [p => new optim.SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.2, weightDecay: 0.05 })],
  'sgd nesterov': [p => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true })],
  adam: [p => new optim.Adam(p, { lr: 0.05, betas: [0.8, 0.99], weightDecay: 0.1 })],
  adamw: [p => new optim.AdamW(p, { lr: 0.05, weightDecay: 0.1 })],
  rmsprop: [p => new optim.RMSprop(p, { lr: 0.02 })],
  'rmsprop centered': [
    p => new optim.RMSprop(p, { lr: 0.02, alpha: 0.9, momentum: 0.5, centered: true, weightDecay: 0.1 }),
  ],
  adagrad: [p => new optim.Adagrad(p, { lr: 0.1, lrDecay: 0.05, initialAccumulator: 0.1, weightDecay: 0.1 })],
  adadelta: [p => new optim.Adadelta(p, { lr: 1, rho: 0.8, weightDecay: 0.1 })],
  adafactor: [p => new optim.Adafactor(p, { lr: 0.1, weightDecay: 0.1 })],
  lion: [p => new optim.Lion(p, { lr: 0.02, betas: [0.9, 0.99], weightDecay: 0.1 })],
  lamb: [p => new optim.LAMB(p, { lr: 0.02, weightDecay: 0.05 })],
  muon: [p => new optim.Muon(p, { lr: 0.02 }), matrices],
}

async function expectClose(
  found: readonly Tensor[],
  expected: readonly (readonly number[])[],
  tolerance: number,
): Promise<void> {
  for (const [k, tensor] of found.entries()) {
    const values = await tensor.data()
    for (const [i, e] of expected[k]!.entries()) {
      const error = Math.abs(Number(values[i]) - e) / Math.max(1, Math.abs(e))
      expect(error, `parameter ${k}, element ${i}: expected ${e}, got ${values[i]}`).toBeLessThan(tolerance)
    }
  }
}

function steps(parameters: readonly Parameter[], optimizer: optim.Optimizer, from: number, to: number): void {
  for (let step = from; step < to; step++) {
    scope(() => {
      for (const p of parameters) setGradient(p, step)
      optimizer.step()
      optimizer.zeroGrad()
    })
  }
}

describe('20 steps of', () => {
  test('every optimizer are among the golden ones', () => {
    expect(Object.keys(golden.optimizers).sort()).toEqual(Object.keys(optimizers).sort())
  })

  for (const [name, [make, shapes = vectors]] of Object.entries(optimizers)) {
    test(`${name}, in float64 and float32`, async () => {
      for (const [dtype, tolerance] of [
        ['float64', 1e-9],
        ['float32', name === 'lion' ? 5e-2 : 2e-4], // Lion goes by signs, which rounding turns
      ] as const) {
        const parameters = shapes.map(shape => start(shape, dtype))
        steps(parameters, make(parameters), 0, 20)
        await expectClose(parameters, golden.optimizers[name]!, tolerance)
      }
    })

    test(`${name}, saved after 8 and continued by another`, async () => {
      const first = shapes.map(shape => start(shape, 'float64'))
      const optimizer = make(first)
      steps(first, optimizer, 0, 8)
      const second = first.map(p => new Parameter(p.detach()))
      const other = make(second)
      other.loadStateDict(optimizer.stateDict())
      expect(other.steps).toBe(8)
      steps(first, optimizer, 8, 20)
      steps(second, other, 8, 20)
      for (const [k, p] of first.entries()) expect(await second[k]!.data()).toEqual(await p.data())
    })
  }
})

describe('schedules', () => {
  const schedules: Record<string, optim.Schedule> = {
    step: new optim.StepSchedule(3, 0.5),
    'multi step': new optim.MultiStepSchedule([2, 5], 0.5),
    exponential: new optim.ExponentialSchedule(0.9),
    cosine: new optim.CosineSchedule({ steps: 10, final: 0.1 }),
    restarts: new optim.CosineSchedule({ steps: 4, growth: 2, final: 0.1, restarts: true }),
    'one cycle': new optim.OneCycleSchedule({ steps: 20 }),
    polynomial: new optim.PolynomialSchedule(10, 2),
  }
  for (const [name, schedule] of Object.entries(schedules)) {
    test(`${name} follows PyTorch`, () => {
      for (const [i, expected] of golden.schedules[name]!.entries())
        expect(schedule.factor(i, i)).toBeCloseTo(expected, 10)
    })
  }

  test('plateau follows PyTorch, also over a save', () => {
    const options = { gamma: 0.5, patience: 1, coolDown: 1, min: 0.1 }
    let schedule = new optim.PlateauSchedule(options)
    const values = [5, 4, 4, 4.1, 4.2, 4.3, 3, 3, 3, 3, 3, 3, 3, 2.99999]
    for (const [i, expected] of golden.schedules.plateau!.entries()) {
      expect(schedule.factor()).toBeCloseTo(expected, 10)
      schedule.epochEnd({ valLoss: values[i]! })
      const saved = JSON.parse(JSON.stringify(schedule.state()))
      schedule = new optim.PlateauSchedule(options)
      schedule.restore(saved)
    }
  })

  test('plateau takes NaN for no improvement', () => {
    const schedule = new optim.PlateauSchedule({ patience: 1, gamma: 0.5 })
    const factors = [Number.NaN, 3, 2, Number.NaN, 1, Number.NaN, Number.NaN].map(valLoss => {
      schedule.epochEnd({ valLoss })
      return schedule.factor()
    })
    expect(factors).toEqual([1, 1, 1, 1, 1, 1, 0.5])
  })

  test('plateau says what it misses', () => {
    expect(() => new optim.PlateauSchedule().epochEnd({ loss: 1 })).toThrow(/no 'valLoss'.*loss/)
  })

  test('restarts are found at once, however many there were', () => {
    const schedule = new optim.CosineSchedule({ steps: 4, restarts: true })
    expect(schedule.factor(4e15 + 2)).toBeCloseTo(0.5, 10)
  })

  test('warm-up is linear, then the other schedule begins', () => {
    const schedule = new optim.WarmUpSchedule(4, new optim.ExponentialSchedule(0.5))
    expect([0, 1, 2, 3].map(step => schedule.factor(step, 0))).toEqual([0.25, 0.5, 0.75, 1])
    expect(schedule.factor(4, 2)).toBe(0.25)
  })
})

describe('optimizers', () => {
  const one = () => new Parameter(tensor([1, 2]))

  test('take groups with settings of their own', async () => {
    const [a, b] = [one(), one()]
    const optimizer = new optim.SGD([{ params: [a] }, { params: [b], lr: 0.5 }], { lr: 0.1 })
    a.grad = tensor([1, 1])
    b.grad = tensor([1, 1])
    optimizer.step()
    expect(await a.toArray()).toEqual([0.8999999761581421, 1.899999976158142])
    expect(await b.toArray()).toEqual([0.5, 1.5])
    optimizer.lr = 0.2
    expect(optimizer.groups.map(group => group.lr)).toEqual([0.2, 1])
  })

  test('leave frozen parameters and those without a gradient alone', async () => {
    const [a, b, c] = [one(), one(), one()]
    const optimizer = new optim.Adam([a, b, c])
    a.grad = tensor([1, 1])
    b.grad = tensor([1, 1])
    b.trainable = false
    optimizer.step()
    expect(await a.toArray()).not.toEqual([1, 2])
    expect(await b.toArray()).toEqual([1, 2])
    expect(await c.toArray()).toEqual([1, 2])
  })

  test('do not change values that others still hold', async () => {
    const parameter = one()
    const before = parameter.detach()
    const optimizer = new optim.SGD([parameter], { lr: 1 })
    parameter.grad = tensor([1, 1])
    optimizer.step()
    expect(await before.toArray()).toEqual([1, 2])
    expect(await parameter.toArray()).toEqual([0, 1])
  })

  test('refuse what makes no sense', () => {
    const p = one()
    expect(() => new optim.SGD([])).toThrow(/no parameters/)
    expect(() => new optim.SGD([p, p])).toThrow(/twice/)
    expect(() => new optim.SGD([p], { lr: -1 })).toThrow(/lr must be a finite number of 0 or more; got -1/)
    expect(() => new optim.Adam([p]).loadStateDict(new optim.SGD([p]).stateDict())).toThrow(
      /state is of SGD.*expected Adam/,
    )
    const muon = new optim.Muon([p])
    p.grad = tensor([1, 1])
    expect(() => muon.step()).toThrow(/matrices only; got a parameter of shape \[2\]/)
  })

  test('clip by norm and by value', async () => {
    const [a, b] = [one(), one()]
    a.grad = tensor([3, 0])
    b.grad = tensor([0, 4])
    const norm = optim.clipGradNorm([a, b], 1)!
    expect(await norm.item()).toBe(5)
    expect(Number((await a.grad!.data())[0])).toBeCloseTo(0.6, 5)
    expect(Number((await b.grad!.data())[1])).toBeCloseTo(0.8, 5)
    optim.clipGradValue([a, b], 0.7)
    expect(Number((await b.grad!.data())[1])).toBeCloseTo(0.7, 5)
  })

  test('averages of weights can be swapped in and out', async () => {
    const parameter = one()
    const ema = new optim.ExponentialMovingAverage([parameter], { decay: 0.5 })
    parameter.assign(tensor([3, 4]))
    ema.update()
    await ema.swapped(async () => expect(await parameter.toArray()).toEqual([2, 3]))
    expect(await parameter.toArray()).toEqual([3, 4])
  })
})

test('gradient descent keeps nothing per parameter until it has momentum', async () => {
  const parameter = new Parameter(tensor([1, 2]))
  const optimizer = new optim.SGD([parameter], { lr: 0.5 })
  const step = () => {
    parameter.grad = tensor([1, -1])
    optimizer.step()
  }
  step()
  expect(optimizer.stateDict().tensors).toEqual({})
  optimizer.groups[0]!.momentum = 0.5
  step()
  expect(await optimizer.stateDict().tensors['0.momentum']!.toArray()).toEqual([1, -1])
  expect(await parameter.toArray()).toEqual([0, 3])
})
