import { compile, nn, optim, Parameter, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { thrown } from '../support/thrown'
import { flat } from '../support/values'

const { NaN: nan } = Number

/** What a mistake that types would show, or not, is answered with. */
const refused = (run: () => unknown): string => {
  const { code, message } = thrown(run)
  return `${code} ${message}`
}

// biome-ignore lint/suspicious/noExplicitAny: mistakes that types would show
type Any = any
const one = () => new Parameter(tensor([1, 2]))
const make = (kind: string, ...args: unknown[]) => new (optim as Any)[kind](...args) as optim.Optimizer<Any>

describe('options of optimizers', () => {
  test.each<[string, object, string]>([
    ['SGD', { lr: -1 }, 'lr must be a finite number of 0 or more; got -1'],
    ['SGD', { lr: nan }, 'lr must be a finite number of 0 or more; got NaN'],
    ['SGD', { lr: Infinity }, 'lr must be a finite number of 0 or more; got Infinity'],
    ['SGD', { lr: null }, 'lr must be a finite number of 0 or more; got null'],
    ['SGD', { lr: '0.1' }, "lr must be a finite number of 0 or more; got '0.1'"],
    ['SGD', { momentum: -1 }, 'momentum must be a finite number of 0 or more; got -1'],
    ['SGD', { momentum: 0.9, dampening: nan }, 'dampening must be a number from 0 to 1; got NaN'],
    ['SGD', { nesterov: true }, 'nesterov must be false, or true with momentum and without dampening; got true'],
    ['SGD', { nesterov: true, momentum: 0.9, dampening: 0.1 }, 'nesterov must be false, or true with momentum and'],
    ['SGD', { nesterov: 'no' }, "nesterov must be false, or true with momentum and without dampening; got 'no'"],
    ['Adam', { betas: [1, 1] }, 'betas must be two numbers from 0 to below 1; got [1,1]'],
    ['AdamW', { betas: [2, -1] }, 'betas must be two numbers from 0 to below 1; got [2,-1]'],
    ['LAMB', { betas: [0.9] }, 'betas must be two numbers from 0 to below 1; got [0.9]'],
    ['Lion', { betas: 0.9 }, 'betas must be two numbers from 0 to below 1; got 0.9'],
    ['Adam', { eps: -1 }, 'eps must be a finite number of 0 or more; got -1'],
    ['Adam', { weightDecay: -0.1 }, 'weightDecay must be a finite number of 0 or more; got -0.1'],
    ['RMSprop', { alpha: 5 }, 'alpha must be a number from 0 to 1; got 5'],
    ['RMSprop', { centered: 1 }, 'centered must be true or false; got 1'],
    ['Adagrad', { lrDecay: -1 }, 'lrDecay must be a finite number of 0 or more; got -1'],
    ['Adagrad', { initialAccumulator: -1 }, 'initialAccumulator must be a finite number of 0 or more; got -1'],
    ['Adadelta', { rho: 1.5 }, 'rho must be a number from 0 to 1; got 1.5'],
    ['Adafactor', { beta2Decay: 1 }, 'beta2Decay must be a finite number of at most 0; got 1'],
    ['Adafactor', { eps: 1e-3 }, 'eps must be two numbers of 0 or more, of which the first may be null; got 0.001'],
    ['Adafactor', { clipThreshold: 0 }, 'clipThreshold must be a finite number above 0; got 0'],
    ['Muon', { iterations: 2.5 }, 'iterations must be a whole number of 1 or more; got 2.5'],
    ['Muon', { nesterov: 0 }, 'nesterov must be true or false; got 0'],
    ['SGD', { learningRate: 0.1 }, "there is no option 'learningRate'; there are lr, momentum, dampening, weightDecay"],
  ])('%s %o', (kind, options, message) => {
    expect(refused(() => make(kind, [one()], options))).toContain(`ERR_VALUE ${kind}: ${message}`)
    expect(refused(() => make(kind, options))).toContain(`ERR_VALUE ${kind}: ${message}`)
    expect(refused(() => make(kind, [{ params: [one()] }, { params: [one()], ...options }]))).toContain(
      `ERR_VALUE ${kind}, group 1: ${message}`,
    )
  })

  test('are an object', () => {
    for (const options of [0.1, null, 'fast'])
      expect(refused(() => make('SGD', [one()], options))).toContain('SGD: expected an object of options; got')
  })

  test('that are undefined count as left out', () => {
    const options = { lr: undefined, betas: undefined, weightDecay: undefined }
    for (const optimizer of [
      new optim.AdamW([one()], options),
      new optim.AdamW([{ params: [one()], ...options }]),
      new optim.AdamW(undefined, options),
    ]) {
      expect(optimizer.defaults).toMatchObject({ lr: 1e-3, betas: [0.9, 0.999], weightDecay: 0.01 })
      for (const group of optimizer.groups) expect(group).toMatchObject(optimizer.defaults)
    }
  })

  test('that are set later are checked by the next step, captured or not', async () => {
    const parameter = one()
    const optimizer = new optim.Adam([parameter])
    const step = () => {
      parameter.square().sum().backward()
      optimizer.step()
      optimizer.zeroGrad()
    }
    const run = compile(step)
    run()
    const [before, { state }] = [await flat(parameter), optimizer.stateDict()]
    const group = optimizer.groups[0] as Any
    for (const [name, wrong] of Object.entries({ lr: -1, betas: [1, 1], eps: undefined, weightDecay: nan })) {
      const right = group[name]
      group[name] = wrong
      for (const again of [step, run]) expect(refused(again)).toContain(`ERR_VALUE Adam: ${name} must be`)
      group[name] = right
      optimizer.zeroGrad()
    }
    expect(await flat(parameter)).toEqual(before)
    expect(optimizer.stateDict().state).toEqual(state)
    expect(refused(() => (optimizer.lr = nan))).toContain('Adam: lr must be')
    expect(optimizer.lr).toBe(1e-3)
  })

  test('are of each optimizer alone', () => {
    const betas: [number, number] = [0.5, 0.5]
    const made = [new optim.Adam([one()]), new optim.Adam([one()]), new optim.Adam([one()], { betas })]
    const lists = made.flatMap(({ defaults, groups }) => [defaults.betas, ...groups.map(group => group.betas)])
    expect(new Set([betas, ...lists]).size).toBe(7)
  })
})

describe('parameters of optimizers', () => {
  const expected = 'expected a list of Parameter, such as those that parameters() of a model gives'

  test.each<[string, () => unknown, string]>([
    ['an undefined one', () => [undefined], `${expected}; got undefined at place 0`],
    ['a tensor', () => [one(), tensor([1], { requiresGrad: true })], `${expected}; got Tensor at place 1`],
    [
      'names with them',
      () => new nn.Linear(1, 1).namedParameters(),
      `${expected}; got [weight,Tensor(float32[1,1])] at place 0`,
    ],
    ['one alone', one, `${expected}; got Parameter`],
    ['a model', () => new nn.Linear(1, 1), `${expected}; got Linear`],
    ['a number', () => 0.1, `${expected}; got 0.1`],
    ['null', () => null, `${expected}; got null`],
    ['none', () => [], 'got no parameters'],
    ['an empty group', () => [{ params: [] }], 'got no parameters'],
    ['a group without', () => [{ lr: 0.1 }], `${expected}; got an object at place 0`],
    ['a group that is none', () => [{ params: [one()] }, one()], `${expected}; got undefined`],
    ['a group of one alone', () => [{ params: one() }], `${expected}; got Parameter`],
    ['a group alone', () => ({ params: [one()] }), "there is no option 'params'"],
  ])('%s: refused', (_, given, message) => {
    expect(refused(() => make('SGD', given()))).toContain('ERR_VALUE SGD')
    expect(refused(() => make('SGD', given()))).toContain(message)
  })

  test('may come from anything that can be gone through', async () => {
    const parameters = [one(), one()]
    const groups = new Set([{ params: new Set(parameters) }])
    for (const given of [new Set(parameters), parameters.values(), groups]) {
      const optimizer = new optim.SGD(given, { lr: 1 })
      expect(optimizer.parameters()).toEqual(parameters)
    }
  })

  test('are wanted by a step', () => {
    const optimizer = new optim.SGD({ lr: 0.1 })
    expect(refused(() => optimizer.step())).toContain('ERR_STATE SGD: it has no parameters')
    expect(optimizer.steps).toBe(0)
  })

  test('that were added wrongly are found by the next step', () => {
    const parameter = one()
    const optimizer = new optim.SGD([parameter])
    const [group] = optimizer.groups
    group!.params.push(parameter)
    expect(refused(() => optimizer.step())).toContain('ERR_VALUE SGD: a parameter is given twice')
    group!.params[1] = tensor([1]) as Any
    expect(refused(() => optimizer.step())).toContain('got Tensor at place 1')
    group!.params.pop()
    optimizer.groups.push({ params: [one()] } as Any)
    expect(refused(() => optimizer.step())).toContain(
      'SGD, group 1: lr must be a finite number of 0 or more; got undefined',
    )
  })
})

describe('clipping', () => {
  test('refuses limits that are none', async () => {
    const parameter = one()
    parameter.grad = tensor([3, 4])
    for (const wrong of [-1, nan, '1', undefined] as Any[]) {
      expect(refused(() => optim.clipGradNorm([parameter], wrong))).toContain('clipGradNorm: maxNorm must be 0 or more')
      expect(refused(() => optim.clipGradValue([parameter], wrong))).toContain('clipGradValue: maxValue must be 0 or')
    }
    expect(await flat(parameter.grad!)).toEqual([3, 4])
  })

  test('takes Infinity, to measure only', async () => {
    const parameter = one()
    parameter.grad = tensor([3, 4])
    expect(await optim.clipGradNorm(new Set([parameter]), Infinity)!.item()).toBe(5)
    optim.clipGradValue([parameter].values(), Infinity)
    expect(await flat(parameter.grad!)).toEqual([3, 4])
  })

  test('refuses what are no tensors', () => {
    for (const wrong of [new nn.Linear(1, 1), [undefined], undefined] as Any[]) {
      expect(refused(() => optim.clipGradNorm(wrong, 1))).toContain('clipGradNorm: expected a list of Tensor')
      expect(refused(() => optim.clipGradValue(wrong, 1))).toContain('clipGradValue: expected a list of Tensor')
    }
  })
})

describe('averages of weights', () => {
  const average = (...args: unknown[]) => make('ExponentialMovingAverage', ...args)

  test('refuse what are no parameters or options', () => {
    expect(refused(() => average(new nn.Linear(1, 1)))).toContain('expected a list of Parameter')
    expect(refused(() => average([]))).toContain('got no parameters')
    for (const decay of [-0.1, 1.1, nan, '0.9'])
      expect(refused(() => average([one()], { decay }))).toContain('decay must be a number from 0 to 1; got')
    expect(refused(() => average([one()], { warmUp: 1 }))).toContain('warmUp must be true or false; got 1')
    expect(refused(() => average([one()], { warmup: true }))).toContain("there is no option 'warmup'")
  })

  test('cannot be swapped in within a captured function', async () => {
    const parameter = one()
    const ema = new optim.ExponentialMovingAverage(new Set([parameter]))
    const run = compile((x: Tensor) => {
      ema.swapped(() => {})
      return x.mul(parameter)
    })
    expect(refused(() => run(tensor([1, 1])))).toContain('ERR_CAPTURE compile: swapped()')
    expect(await flat(parameter)).toEqual([1, 2])
  })
})

describe('schedules', () => {
  test.each<[string, unknown[], string]>([
    ['StepSchedule', [0], 'stepSize must be a finite number of 1 or more; got 0'],
    ['StepSchedule', [nan], 'stepSize must be a finite number of 1 or more; got NaN'],
    ['StepSchedule', [2, -1], 'gamma must be a finite number of 0 or more; got -1'],
    ['MultiStepSchedule', [3], 'milestones must be a list of numbers of 0 or more; got 3'],
    ['MultiStepSchedule', [[3, nan]], 'milestones must be a list of numbers of 0 or more; got [3,NaN]'],
    ['MultiStepSchedule', [[3], '0.1'], "gamma must be a finite number of 0 or more; got '0.1'"],
    ['ExponentialSchedule', [], 'gamma must be a finite number of 0 or more; got undefined'],
    ['CosineSchedule', [], 'expected an object of options; got undefined'],
    ['CosineSchedule', [{}], 'steps must be a finite number of 1 or more; got undefined'],
    ['CosineSchedule', [10], 'expected an object of options; got 10'],
    ['CosineSchedule', [{ steps: Infinity }], 'steps must be a finite number of 1 or more; got Infinity'],
    ['CosineSchedule', [{ steps: 10, restarts: true, growth: 0.5 }], 'growth must be a finite number of 1 or more'],
    ['CosineSchedule', [{ steps: 10, growth: nan }], 'growth must be a finite number of 1 or more; got NaN'],
    ['CosineSchedule', [{ steps: 10, warmUp: 2.5 }], 'warmUp must be a whole number of 0 or more; got 2.5'],
    ['CosineSchedule', [{ steps: 10, final: -1 }], 'final must be a finite number of 0 or more; got -1'],
    ['CosineSchedule', [{ steps: 10, restart: true }], "there is no option 'restart'; there are steps, warmUp, final"],
    ['OneCycleSchedule', [{ steps: 0 }], 'steps must be a finite number of 1 or more; got 0'],
    ['OneCycleSchedule', [{ steps: 9, rising: 2 }], 'rising must be a number from 0 to 1; got 2'],
    ['OneCycleSchedule', [{ steps: 9, initialDivisor: 0 }], 'initialDivisor must be a finite number above 0; got 0'],
    ['OneCycleSchedule', [{ steps: 9, finalDivisor: -1 }], 'finalDivisor must be a finite number above 0; got -1'],
    ['PolynomialSchedule', [0], 'steps must be a finite number of 1 or more; got 0'],
    ['PolynomialSchedule', [9, -1], 'power must be a finite number of 0 or more; got -1'],
    ['PolynomialSchedule', [9, 1, nan], 'final must be a finite number of 0 or more; got NaN'],
    ['WarmUpSchedule', [-1], 'steps must be a whole number of 0 or more; got -1'],
    ['WarmUpSchedule', [1, 'cosine'], "then must be a schedule; got 'cosine'"],
    ['PlateauSchedule', [{ monitor: 1 }], 'monitor must be a name; got 1'],
    ['PlateauSchedule', [{ mode: 'least' }], "mode must be 'min' or 'max'; got 'least'"],
    ['PlateauSchedule', [{ gamma: 1 }], 'gamma must be a number from 0 to below 1; got 1'],
    ['PlateauSchedule', [{ patience: -1 }], 'patience must be a whole number of 0 or more; got -1'],
    ['PlateauSchedule', [{ threshold: nan }], 'threshold must be a finite number of 0 or more; got NaN'],
    ['PlateauSchedule', [{ coolDown: 0.5 }], 'coolDown must be a whole number of 0 or more; got 0.5'],
    ['PlateauSchedule', [{ min: -1 }], 'min must be a number from 0 to 1; got -1'],
  ])('%s %j', (kind, args, message) => {
    expect(refused(() => make(kind, ...args))).toContain(`ERR_VALUE ${kind}: ${message}`)
  })

  test('on plateau take up a state of their own only', () => {
    const schedule = new optim.PlateauSchedule()
    for (const state of [null, {}, { ...(schedule.state() as object), factor: 'a' }])
      expect(refused(() => schedule.restore(state))).toContain('PlateauSchedule: factor must be a number from 0 to 1')
    expect(schedule.factor()).toBe(1)
  })

  test('take undefined for what is left out', () => {
    const given = { warmUp: undefined, final: undefined, restarts: undefined, growth: undefined }
    expect(new optim.CosineSchedule({ steps: 4, ...given }).factor(2)).toBeCloseTo(0.5, 10)
  })
})
