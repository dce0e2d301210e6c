import {
  compile,
  losses,
  manualSeed,
  nn,
  optim,
  Parameter,
  randomNormal,
  randomState,
  type Tensor,
  tensor,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { emulated, testDevice } from '../support/device'
import { flat } from '../support/values'
import { type Clip, network, stepOf } from './networks'

const optimizers: Record<string, (params: Parameter[]) => optim.Optimizer> = {
  SGD: params => new optim.SGD(params, { lr: 0.1, momentum: 0.9, dampening: 0.1 }),
  AdamW: params => new optim.AdamW(params, { lr: 0.01 }),
  RMSprop: params => new optim.RMSprop(params, { lr: 0.01, momentum: 0.5, centered: true }),
  Adagrad: params => new optim.Adagrad(params, { lr: 0.1, lrDecay: 0.1 }),
  Adadelta: params => new optim.Adadelta(params),
  Lion: params => new optim.Lion(params),
  LAMB: params => new optim.LAMB(params),
  Adafactor: params => new optim.Adafactor(params),
  Muon: params => new optim.Muon(params.filter(p => p.ndim === 2)),
}

type Make = (params: Parameter[]) => optim.Optimizer

async function trained(make: Make, captured: boolean, clip: Clip, keep: boolean): Promise<number[][]> {
  const model = network()
  const optimizer = make(model.parameters())
  const { step, average } = stepOf(model, optimizer, clip, keep)
  const run = captured ? compile(step) : step
  const results: number[][] = []
  for (let i = 0; i < 6; i++) {
    const rows = i === 4 ? 5 : 7
    const x = randomNormal([rows, 3])
    const y = tensor(Int32Array.from({ length: rows }, (_, k) => (k + i) % 2))
    optimizer.lr *= 0.9
    results.push(await flat(run(x, y)))
  }
  for (const t of [...Object.values(model.stateDict()), ...average.averages()]) results.push(await flat(t))
  for (const { grad } of model.parameters()) results.push(grad ? await flat(grad) : [])
  results.push(await flat(run(randomNormal([2, 3]), tensor(Int32Array.of(0, 1)))), randomState())
  return results
}

describe('a captured training step does what the calls one by one do, bit for bit', () => {
  for (const [name, make] of Object.entries(optimizers)) {
    test.each<[Clip, boolean]>([
      ['norm', true],
      ['none', false],
      ['norm', false],
      ['value', false],
      ['both', false],
    ])(`${name}, clipped by %s, gradients kept: %s`, async (clip, keep) => {
      expect(await trained(make, true, clip, keep)).toEqual(await trained(make, false, clip, keep))
    })
  }
})

describe('gradients of 16 bits are read as they are by updates on a GPU, which give the same bits', () => {
  const dtypes = ['bfloat16', 'float16'] as const
  /** Neighbours in packs and left over, and more than a block takes; gradients of float32 beside those of 16 bits. */
  const trainedBy = (make: Make, captured: boolean, clip: Clip) => {
    manualSeed(31)
    const parameters = [[4099], [7, 3], [2, 4096], [5]].map(shape => new Parameter(randomNormal(shape)))
    const optimizer = make(parameters)
    const step = (x: Tensor) => {
      const parts = parameters.map((p, i) => {
        const read = i < 3 ? p.cast(dtypes[i % 2]!) : p
        return read.square().mul(x.cast(read.dtype)).cast('float32').sum()
      })
      const loss = parts.reduce((a, b) => a.add(b))
      loss.backward()
      if (clip === 'value' || clip === 'both') optim.clipGradValue(parameters, 0.5)
      if (clip === 'norm' || clip === 'both') optim.clipGradNorm(parameters, 0.7)
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    }
    return { step, run: captured ? compile(step) : step, all: () => [...parameters, ...optimizerState(optimizer)] }
  }
  const optimizerState = (optimizer: optim.Optimizer) => Object.values(optimizer.stateDict().tensors ?? {})

  for (const [name, make] of Object.entries(optimizers)) {
    test.each<[Clip]>([['none'], ['norm'], ['value'], ['both']])(`${name}, clipped by %s`, async clip => {
      const [plain, captured] = [trainedBy(make, false, clip), trainedBy(make, true, clip)]
      for (let i = 0; i < 3; i++) {
        const x = tensor(0.25 * (i + 1))
        expect(await flat(captured.run(x))).toEqual(await flat(plain.run(x)))
      }
      for (const [i, t] of plain.all().entries()) expect(await flat(captured.all()[i]!)).toEqual(await flat(t))
    })
  }

  test.skipIf(testDevice === 'cpu').each<[Clip]>([['none'], ['norm'], ['value']])(
    'without a conversion, clipped by %s',
    async clip => {
      const { step } = trainedBy(optimizers.AdamW!, false, clip)
      const { operations } = await compile(step).explain(tensor(0.5))
      const updates = operations.filter(({ name }) => name === 'adamUpdate').flatMap(({ inputs }) => inputs)
      expect(updates.filter(input => /float16\[/.test(input)).length).toBe(3)
    },
  )
})

/** Operations of a step by name, after checking that the step does what it does without capturing. */
async function operationsOf(make: () => { step: (x: Tensor) => Tensor; all: () => Tensor[] }, x: Tensor) {
  const [plain, captured] = [make(), make()]
  const run = compile(captured.step)
  for (let i = 0; i < 3; i++) expect(await flat(run(x))).toEqual(await flat(plain.step(x)))
  const bytes = async (all: Tensor[]) => Buffer.concat(await Promise.all(all.map(t => t.bytes())))
  expect((await bytes(captured.all())).equals(await bytes(plain.all()))).toBe(true)
  return run.explain(x)
}

describe('clipping', () => {
  manualSeed(4)
  const x = randomNormal([5, 3])

  function clipped(clip: (params: Parameter[]) => unknown, after: (params: Parameter[]) => unknown = () => {}) {
    manualSeed(2)
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 2))
    const params = model.parameters()
    const optimizer = new optim.AdamW(params, { lr: 0.1 })
    const step = (input: Tensor) => {
      const loss = model.forward(input).square().sum()
      loss.backward()
      clip(params)
      optimizer.step()
      after(params)
      return loss
    }
    return { step, all: () => params }
  }
  const drop = (params: Parameter[]) => {
    for (const parameter of params) parameter.grad = undefined
  }
  const names = async (make: () => { step: (x: Tensor) => Tensor; all: () => Tensor[] }) =>
    (await operationsOf(make, x)).operations.map(({ name }) => name)

  test('by norm is left to the update, which gets the factor', async () => {
    const found = await names(() => clipped(params => optim.clipGradNorm(params, 0.1), drop))
    expect(found).toContain('globalNorm')
    expect(found).not.toContain('clipByGlobalNorm')
  })

  test('by value is left to the update', async () => {
    const found = await names(() => clipped(params => optim.clipGradValue(params, 0.1), drop))
    expect(found.join()).not.toMatch(/clamp|fusedElementwise.*clamp/)
    expect(found.filter(name => name === 'adamUpdate')).toHaveLength(1)
  })

  test('by value and then by norm: the norm is of limited gradients', async () => {
    const found = await names(() =>
      clipped(params => {
        optim.clipGradValue(params, 0.5)
        optim.clipGradNorm(params, 0.1)
      }, drop),
    )
    expect(found).toContain('globalNorm')
  })

  test('is done where gradients are read afterwards', async () => {
    const make = () => clipped(params => optim.clipGradNorm(params, 0.1))
    const { step, all } = make()
    const run = compile(step)
    run(x)
    const norms = await Promise.all(all().map(async p => (await flat(p.grad!)).reduce((sum, g) => sum + g * g, 0)))
    expect(Math.sqrt(norms.reduce((a, b) => a + b))).toBeCloseTo(0.1, 5)
  })

  test('is done for parameters that another optimizer updates in its own way', async () => {
    const found = await names(() => {
      const { step, all } = clipped(
        () => {},
        () => {},
      )
      const params = all() as Parameter[]
      const muon = new optim.Muon(
        params.filter(p => p.ndim === 2),
        { lr: 0.1 },
      )
      return {
        step: input => {
          drop(params)
          const loss = step(input)
          optim.clipGradNorm(params, 0.1)
          muon.step()
          drop(params)
          return loss
        },
        all,
      }
    })
    expect(found).toContain('clipByGlobalNorm')
  })

  test('of values that are no numbers reaches the parameters', async () => {
    const parameter = new Parameter(tensor([1, 2, 3]))
    const optimizer = new optim.SGD([parameter], { lr: 1 })
    const run = compile((input: Tensor) => {
      parameter.mul(input).sum().backward()
      optim.clipGradValue([parameter], 2)
      optimizer.step()
      optimizer.zeroGrad()
    })
    run(tensor([Number.NaN, Infinity, -Infinity]))
    expect(await flat(parameter)).toEqual([Number.NaN, 0, 5])
  })
})

describe('memory of a step', () => {
  /** A network of wide layers, of which each has more than enough parameters for an update of its own. */
  function wide(layers: number, width = 600) {
    manualSeed(2)
    const linear = Array.from({ length: layers }, () => new nn.Linear(width, width))
    const model = new nn.Sequential(...linear.flatMap(layer => [layer, new nn.GELU()]))
    const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 })
    const step = (x: Tensor) => {
      const loss = model.forward(x).square().mean()
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    }
    return { step, all: () => model.parameters() }
  }

  test('parameters are updated as soon as their gradients are there', async () => {
    const layers = 6
    const { operations, arenaBytes, liveBytes } = await operationsOf(() => wide(layers), randomNormal([4, 600]))
    const names = operations.map(({ name }) => name)
    expect(names.filter(name => name === 'adamUpdate').length).toBeGreaterThan(layers / 2)
    expect(names.indexOf('adamUpdate')).toBeLessThan(names.lastIndexOf('matmul'))
    const gradient = 4 * 600 * 769
    expect(liveBytes).toBeLessThan(2.5 * gradient)
    expect(arenaBytes).toBeGreaterThanOrEqual(liveBytes)
    expect(Math.max(...operations.map(({ live }) => live))).toBe(liveBytes)
  })

  // Its products take minutes where a GPU is emulated.
  test.skipIf(emulated)(
    'elementwise results that wait for the backward pass are computed again',
    async () => {
      const layers = 6
      const rows = 500
      const width = 1024
      const { operations, liveBytes } = await operationsOf(() => wide(layers, width), randomNormal([rows, width]))
      const gelus = operations.filter(({ name, attributes }) => name === 'gelu' || /gelu( |$)/.test(attributes))
      expect(gelus.length).toBeGreaterThan(layers)
      // Of every layer the sum alone is kept, and not what comes of it.
      expect(liveBytes).toBeLessThan((layers + 3.5) * rows * width * 4 + width * width * 4)
    },
    240_000,
  ) // a sanitizer looks at every value that these products read
})

test('an update that a later operation reads the old value of leaves that value alone', async () => {
  const make = () => {
    manualSeed(1)
    const layer = new nn.Linear(600, 600)
    const other = new nn.Linear(600, 600)
    const optimizer = new optim.SGD([...layer.parameters(), ...other.parameters()], { lr: 0.5 })
    const step = (x: Tensor) => {
      const before = layer.weight.detach()
      const loss = losses.mse(other.forward(layer.forward(x)), x)
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return before.sub(layer.weight).abs().sum()
    }
    return { step, all: () => [...layer.parameters(), ...other.parameters()] }
  }
  await operationsOf(make, randomNormal([3, 600]))
})
