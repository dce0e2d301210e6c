import { compile, manualSeed, nn, optim, Parameter, randomNormal, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { thrown } from '../support/thrown'
import { flat } from '../support/values'

// biome-ignore lint/suspicious/noExplicitAny: mistakes that types would show
type Any = any
type Make = (parameters: readonly Parameter[]) => optim.Optimizer<Any>
const makers: Record<string, Make> = {
  'SGD without momentum': p => new optim.SGD(p, { lr: 0.1 }),
  SGD: p => new optim.SGD(p, { lr: 0.1, momentum: 0.9 }),
  Adam: p => new optim.Adam(p, { lr: 0.1 }),
  AdamW: p => new optim.AdamW(p, { lr: 0.1 }),
  RMSprop: p => new optim.RMSprop(p, { lr: 0.1, momentum: 0.5, centered: true }),
  Adagrad: p => new optim.Adagrad(p, { lr: 0.1, initialAccumulator: 0.1 }),
  Adadelta: p => new optim.Adadelta(p),
  Lion: p => new optim.Lion(p, { lr: 0.1 }),
  LAMB: p => new optim.LAMB(p, { lr: 0.1 }),
  Adafactor: p => new optim.Adafactor(p, { lr: 0.1 }),
  Muon: p => new optim.Muon(p, { lr: 0.1 }),
}

/** A model of a matrix, its optimizer, and a step of both, captured or not. */
function training(make: Make, captured: boolean) {
  manualSeed(3)
  const model = new nn.Linear(3, 2, { bias: false })
  const optimizer = make(model.parameters())
  const step = (x: Tensor) => {
    const loss = model.forward(x).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zeroGrad()
    return loss
  }
  const run = captured ? compile(step) : step
  const steps = async () => {
    const losses: number[] = []
    for (let i = 0; i < 3; i++) losses.push(await run(tensor([[1, i, -1]])).item())
    return losses
  }
  return { model, optimizer, steps, run }
}

async function stateOf(optimizer: optim.Optimizer<Any>) {
  const { tensors, state } = optimizer.stateDict()
  const values = await Promise.all(Object.entries(tensors).map(async ([name, t]) => [name, await flat(t)] as const))
  return { tensors: Object.fromEntries(values), state }
}

describe('a state that is loaded is gone on from by steps captured before', () => {
  for (const [name, make] of Object.entries(makers)) {
    test.each(['fresh', 'later'])(`${name}, a %s one`, async when => {
      const [captured, plain] = [training(make, true), training(make, false)]
      const results: unknown[][] = []
      for (const { model, optimizer, steps, run } of [captured, plain]) {
        if (when === 'later') await steps()
        const [weights, state] = [model.stateDict(), optimizer.stateDict()]
        const first = [await steps(), await stateOf(optimizer)]
        model.loadStateDict(weights)
        optimizer.loadStateDict(state)
        expect(await stateOf(optimizer)).toEqual(await stateOf({ stateDict: () => state } as Any))
        const second = [await steps(), await stateOf(optimizer)]
        expect(second).toEqual(first)
        expect((run as Any).graphs ?? 1).toBe(1)
        results.push(second)
      }
      expect(results[0]).toEqual(results[1])
    })
  }

  test('with other settings, which need other states', async () => {
    const results: number[][] = []
    for (const captured of [true, false]) {
      const { model, optimizer, steps } = training(makers['SGD without momentum']!, captured)
      const weights = model.stateDict()
      const plain = optimizer.stateDict()
      const first = await steps()
      optimizer.groups[0]!.momentum = 0.9
      await steps()
      const heavy = optimizer.stateDict()
      optimizer.loadStateDict(plain)
      model.loadStateDict(weights)
      expect(await steps()).toEqual(first)
      optimizer.loadStateDict(heavy)
      results.push(await steps())
      // What is left of the momentum must not come back.
      optimizer.loadStateDict(plain)
      model.loadStateDict(weights)
      optimizer.groups[0]!.momentum = 0.9
      results.push(await steps())
    }
    expect(results.slice(0, 2)).toEqual(results.slice(2))
  })
})

test('a saved state and an optimizer share nothing', () => {
  const make = () => new optim.Adam([new Parameter(tensor([1]))])
  const [first, second] = [make(), make()]
  const saved = first.stateDict()
  second.loadStateDict(saved)
  const lists = [first.groups[0]!.betas, second.groups[0]!.betas, (saved.state as Any).groups[0].betas]
  expect(lists).toEqual([
    [0.9, 0.999],
    [0.9, 0.999],
    [0.9, 0.999],
  ])
  expect(new Set(lists).size).toBe(3)
})

test('a state of another dtype is converted', async () => {
  const [a, b] = (['float64', 'float32'] as const).map(dtype => new Parameter(tensor([1, 2], { dtype })))
  const [first, second] = [new optim.Adam([a!]), new optim.Adam([b!])]
  a!.grad = tensor([1, 1], { dtype: 'float64' })
  first.step()
  second.loadStateDict(first.stateDict())
  const { tensors } = second.stateDict()
  expect(tensors['0.mean']!.dtype).toBe('float32')
  expect(await flat(tensors['0.mean']!)).toEqual([Math.fround(0.1), Math.fround(0.1)])
})

describe('a state that does not fit is refused, and nothing changes', () => {
  async function stepped(shapes: number[][], lr: number) {
    const parameters = shapes.map(shape => new Parameter(randomNormal(shape)))
    const optimizer = new optim.Adam(parameters, { lr })
    for (const p of parameters) p.grad = randomNormal([...p.shape])
    optimizer.step()
    return optimizer
  }
  const wrong: Record<string, [(saved: Any) => unknown, string]> = {
    null: [() => null, 'ERR_VALUE Adam: expected the state that stateDict() of an optimizer gives; got null'],
    'an empty object': [() => ({}), 'ERR_VALUE Adam: expected the state that stateDict()'],
    'without tensors': [({ state }) => ({ state }), 'ERR_VALUE Adam: expected the state that stateDict()'],
    'without steps': [s => ({ ...s, state: { ...s.state, steps: undefined } }), 'ERR_VALUE Adam: expected the state'],
    'with steps that are none': [
      s => ({ ...s, state: { ...s.state, steps: [1, -1] } }),
      'ERR_VALUE Adam: expected the',
    ],
    'without updates': [s => ({ ...s, state: { ...s.state, updates: null } }), 'ERR_VALUE Adam: expected the state'],
    'without groups': [
      s => ({ ...s, state: { ...s.state, groups: [null] } }),
      'ERR_VALUE Adam: expected an object of op',
    ],
    'of more parameters': [
      s => ({ ...s, state: { ...s.state, steps: [1, 1, 1] } }),
      'ERR_VALUE Adam: the state is of Adam with 3 parameters in 1 groups; expected Adam with 2 in 1',
    ],
    'of another optimizer': [
      s => ({ ...s, state: { ...s.state, kind: 'SGD' } }),
      'ERR_VALUE Adam: the state is of SGD',
    ],
    'with a bad setting': [
      s => ({ ...s, state: { ...s.state, groups: [{ lr: 0.5, betas: [1, 1] }] } }),
      'ERR_VALUE Adam: betas must be two numbers from 0 to below 1; got [1,1]',
    ],
    'with a tensor too few': [
      s => ({ ...s, tensors: { ...s.tensors, '1.variance': undefined } }),
      "ERR_VALUE Adam: the state has no tensor '1.variance'",
    ],
    'with a tensor of another shape': [
      s => ({ ...s, tensors: { ...s.tensors, '1.mean': tensor([1, 2]) } }),
      "ERR_SHAPE Adam: the state's tensor '1.mean' must be of shape [3]; got [2]",
    ],
  }
  test.each(Object.entries(wrong))('%s', async (_, [spoil, message]) => {
    const optimizer = await stepped([[2], [3]], 0.1)
    const before = await stateOf(optimizer)
    const other = await stepped([[2], [3]], 0.5)
    const { code, message: found } = thrown(() => optimizer.loadStateDict(spoil(other.stateDict()) as Any))
    expect(`${code} ${found}`).toContain(message)
    expect(await stateOf(optimizer)).toEqual(before)
  })

  test('within a captured function', () => {
    const parameter = new Parameter(tensor([1]))
    const optimizer = new optim.SGD([parameter])
    const saved = optimizer.stateDict()
    expect(thrown(compile(() => optimizer.loadStateDict(saved))).code).toBe('ERR_CAPTURE')
  })
})
