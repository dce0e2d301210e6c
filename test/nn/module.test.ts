import { Buffer, full, Parameter, type Tensor, tensor } from 'anneal'
import * as nn from 'anneal/nn'
import { describe, expect, test } from 'vitest'
import { codeOf } from '../support/thrown'

class Block extends nn.Module {
  readonly first = new nn.Linear(3, 4)
  readonly branches = [new nn.Linear(4, 2, { bias: false }), new nn.Linear(4, 2)]
  readonly scale = new Parameter(full([2], 3))
  readonly counts = new Buffer(full([1], 0))
  readonly note = 'not a module'
  constructor() {
    super()
    this.again = this.first
  }
  readonly again: nn.Module
  forward(x: Tensor): Tensor {
    const hidden = this.first.forward(x)
    return this.branches
      .map(b => b.forward(hidden))
      .reduce((a, b) => a.add(b))
      .mul(this.scale)
  }
}

describe('Module', () => {
  test('attributes and arrays register themselves, each once', () => {
    const names = Array.from(new Block().namedParameters(), ([name]) => name)
    expect(names.sort()).toEqual(
      ['scale', 'first.weight', 'first.bias', 'branches.0.weight', 'branches.1.weight', 'branches.1.bias'].sort(),
    )
    expect(Array.from(new Block().namedModules(), ([name]) => name)).toEqual(['', 'first', 'branches.0', 'branches.1'])
    expect(Array.from(new Block().namedBuffers(), ([name]) => name)).toEqual(['counts'])
    expect(new Block().countParameters()).toBe(2 + 12 + 4 + 8 + 8 + 2)
  })

  test('what is in plain objects and nested arrays registers itself too, after the rest', async () => {
    class Heads extends nn.Module {
      readonly options: { depth: number; shared: nn.Module; scales: Parameter[]; self?: unknown }
      readonly heads = { kind: new nn.Linear(2, 3, { bias: false }), age: new nn.Linear(2, 1, { bias: false }) }
      readonly grid = [[new nn.Linear(2, 2, { bias: false })], [new nn.ReLU(), { last: new nn.Tanh() }]]
      readonly shared: nn.Module
      constructor() {
        super()
        this.options = { depth: 2, shared: new nn.Linear(1, 1), scales: [new Parameter(full([2], 3))] }
        this.options.self = this.options
        this.shared = this.options.shared
        this.regularizer = { l2: 1 }
      }
      forward(x: Tensor): Tensor {
        return this.heads.kind.forward(x)
      }
    }
    const model = new Heads()
    expect(Array.from(model.namedModules(), ([name]) => name)).toEqual(
      ['', 'shared', 'heads.kind', 'heads.age', 'grid.0.0', 'grid.1.0', 'grid.1.1.last'], // by depth
    )
    expect(Array.from(model.namedParameters(), ([name]) => name)).toEqual([
      'options.scales.0',
      'shared.weight',
      'shared.bias',
      'heads.kind.weight',
      'heads.age.weight',
      'grid.0.0.weight',
    ])
    expect(await model.regularization()!.item()).toBe(18)
    expect(new Heads().loadStateDict(model.stateDict()).missing).toEqual([])
    nn.quantize(model)
    expect(model.heads.kind).toBeInstanceOf(nn.QuantizedLinear)
    expect(model.grid[0]![0]).toBeInstanceOf(nn.QuantizedLinear)
    expect(model.toString()).toContain('\n  (heads.kind): QuantizedLinear(2, 3, bias=false)\n')
  })

  test('a child may hold its parent', () => {
    class Child extends nn.Module {
      readonly inner = new nn.Linear(2, 1)
      constructor(readonly parent: nn.Module) {
        super()
      }
      forward(x: Tensor): Tensor {
        return this.inner.forward(x)
      }
    }
    class Parent extends nn.Module {
      readonly scale = new Parameter(full([3], 1))
      readonly self = this
      readonly child = new Child(this)
      forward(x: Tensor): Tensor {
        return this.child.forward(x)
      }
      config() {
        return []
      }
    }
    nn.register(Parent)
    const model = new Parent()
    expect(model.toString()).toBe(
      'Parent(\n  (self): Parent(…)\n  (child): Child(\n    (parent): Parent(…)\n    (inner): Linear(2, 1)\n  )\n)',
    )
    expect(model.countParameters()).toBe(6)
    expect(model.summary([1, 2])).toMatch(
      /model \(Parent\) +\[1, 1\] +3\n {2}child \(Child\) +\[1, 1\] +0\n.*\[1, 1\] +3 /,
    )
    expect(nn.toConfig(model)).toEqual({ kind: 'Parent', args: [] })
    expect(nn.quantize(model).child.inner).toBeInstanceOf(nn.QuantizedLinear)
    expect(nn.toConfig(model)).toEqual({ kind: 'Parent', args: [], quantized: ['child.inner'] })
  })

  test('state goes from one module to another, and stays as it was', async () => {
    const [a, b] = [new Block(), new Block()]
    const state = a.stateDict()
    expect(b.loadStateDict(state)).toEqual({ missing: [], unexpected: [] })
    const x = tensor([[1, 2, 3]])
    expect(await b.forward(x).toArray()).toEqual(await a.forward(x).toArray())
    const before = await state.scale!.toArray()
    a.scale.assign(full([2], 9))
    expect(await state.scale!.toArray()).toEqual(before)
    expect(await b.scale.toArray()).toEqual([3, 3])
  })

  test('state gives a tied parameter under any of its names, of which the last wins', async () => {
    const module = new Block()
    expect([...module.namedAliases()]).toEqual([
      ['again.weight', 'first.weight'],
      ['again.bias', 'first.bias'],
    ])
    const { 'first.weight': weight, ...rest } = module.stateDict()
    expect(module.loadStateDict({ 'again.weight': weight!.mul(0), ...rest })).toEqual({ missing: [], unexpected: [] })
    expect(await module.first.weight.sum().item()).toBe(0)
    module.loadStateDict({ 'again.weight': full([4, 3], 2), ...module.stateDict() })
    expect(await module.first.weight.sum().item()).toBe(24)
    expect(() => module.loadStateDict({ ...module.stateDict(), 'again.scale': weight! })).toThrow(
      /unexpected \[again.scale\]/,
    )
  })

  test('state that does not fit changes nothing', async () => {
    const module = new nn.Linear(2, 1)
    const before = await module.weight.toArray()
    const state = { weight: full([1, 3], 1), bias: full([1], 1) }
    expect(() => module.loadStateDict(state)).toThrow(/weight: expected shape \[1,2\]; got \[1,3\]/)
    expect(() => module.loadStateDict({ weight: full([1, 2], 1) })).toThrow(/missing \[bias\]/)
    expect(await module.weight.toArray()).toEqual(before)
    expect(module.loadStateDict({ weight: full([1, 2], 5), extra: full([1], 1) }, { strict: false })).toEqual({
      missing: ['bias'],
      unexpected: ['extra'],
    })
    expect(await module.weight.toArray()).toEqual([[5, 5]])
  })

  test('state that is none', () => {
    const module = new nn.Linear(2, 1)
    for (const [state, message] of [
      [null, 'loadStateDict: expected tensors by name, as stateDict() gives them; got null'],
      [undefined, 'loadStateDict: expected tensors by name, as stateDict() gives them; got undefined'],
      [Promise.resolve({}), 'as stateDict() gives them; got an object of class Promise'],
      [{ weight: [[1, 2]], bias: [1] }, 'loadStateDict: weight: expected a tensor; got an array'],
    ] as const) {
      expect(() => module.loadStateDict(state as never)).toThrow(message)
      expect(codeOf(() => module.loadStateDict(state as never))).toBe('ERR_VALUE')
    }
  })

  test('train and eval reach every module', () => {
    const block = new Block()
    expect(
      block
        .eval()
        .modules()
        .map(m => m.training),
    ).toEqual([false, false, false, false])
    expect(
      block
        .train()
        .modules()
        .every(m => m.training),
    ).toBe(true)
  })

  test('frozen parameters get no gradient', () => {
    const block = new Block()
    block.first.freeze()
    expect(block.countParameters({ trainableOnly: true })).toBe(20)
    block
      .forward(tensor([[1, 2, 3]]))
      .sum()
      .backward()
    expect(block.first.weight.grad).toBeUndefined()
    expect(block.scale.grad?.shape).toEqual([2])
    block.zeroGrad()
    expect(block.scale.grad).toBeUndefined()
    block.unfreeze()
    block
      .forward(tensor([[1, 2, 3]]))
      .sum()
      .backward()
    expect(block.first.weight.grad?.shape).toEqual([4, 3])
  })

  test('to converts floating-point values, and knows one device', async () => {
    const norm = new nn.BatchNorm1d(2).to('float64')
    expect(norm.weight!.dtype).toBe('float64')
    expect(norm.runningMean!.dtype).toBe('float64')
    expect(norm.numBatchesTracked!.dtype).toBe('int64')
    const output = norm.forward(
      tensor(
        [
          [1, 2],
          [3, 5],
        ],
        { dtype: 'float64' },
      ),
    )
    expect(output.dtype).toBe('float64')
    expect(norm.to('cpu')).toBe(norm)
    for (const target of ['int32', 'gpu']) {
      expect(() => norm.to(target as 'cpu')).toThrow(
        expect.objectContaining({
          code: 'ERR_DTYPE',
          message: `to: expected a floating-point dtype (float32, float64, float16, bfloat16) or a device (cpu, cuda, cuda:1); got '${target}'`,
        }),
      )
    }
  })

  test('hooks see and change what goes in and comes out, until removed', async () => {
    const layer = new nn.Identity()
    const seen: string[] = []
    const removeBefore = layer.registerForwardPreHook((_, [x]) => {
      seen.push('before')
      return [(x as Tensor).add(1)]
    })
    const removeAfter = layer.registerForwardHook((_, [x], y) => {
      seen.push('after')
      return (x as Tensor).add(y as Tensor)
    })
    expect(await layer.forward(tensor([1])).toArray()).toEqual([4])
    expect(seen).toEqual(['before', 'after'])
    removeBefore()
    expect(await layer.forward(tensor([1])).toArray()).toEqual([2])
    removeAfter()
    expect(await layer.forward(tensor([1])).toArray()).toEqual([1])
  })

  test('printing shows the structure', () => {
    expect(new nn.Sequential(new nn.Linear(3, 2, { bias: false }), new nn.ReLU()).toString()).toBe(
      'Sequential(\n  (0): Linear(3, 2, bias=false)\n  (1): ReLU()\n)',
    )
  })

  test('summary shows shapes, parameters and operations', () => {
    const model = new nn.Sequential(
      new nn.Conv2d(1, 4, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.Flatten(),
      new nn.Linear(144, 10),
    )
    const text = model.summary([2, 6, 6, 1])
    expect(text).toMatch(/0 \(Conv2d\) +\[2, 6, 6, 4\] +40 +5\.47 k/)
    expect(text).toMatch(/3 \(Linear\) +\[2, 10\] +1,450 +5\.78 k/)
    expect(text).toMatch(/Parameters: 1,490 \(1,490 trainable\), 5\.82 KiB/)
    expect(model.training).toBe(true)
    expect(model.summary()).toMatch(/Linear/)
  })
})

describe('regularizers', () => {
  test('add up over all modules, without biases', async () => {
    const model = new nn.Sequential(
      new nn.Linear(2, 2, { regularizer: nn.regularizers.l1l2({ l1: 0.5, l2: 0.1 }) }),
      new nn.Linear(2, 1),
    )
    const first = model.get(0) as nn.Linear
    first.weight.assign(
      tensor([
        [1, -2],
        [3, 0],
      ]),
    )
    first.bias!.assign(full([2], 100))
    expect(await model.regularization()!.item()).toBeCloseTo(0.5 * 6 + 0.1 * 14, 5)
    model.regularization()!.backward()
    expect(await first.weight.grad!.toArray()).toEqual([
      [expect.closeTo(0.7), expect.closeTo(-0.9)],
      [expect.closeTo(1.1), expect.closeTo(0)],
    ])
    expect(first.bias!.grad).toBeUndefined()
    model.get(1).regularizer = nn.regularizers.l2(1)
    expect(await model.regularization()!.item()).toBeGreaterThan(4.4)
  })

  test('are absent by default', () => {
    expect(new nn.Linear(2, 2).regularization()).toBeUndefined()
  })
})

describe('Sequential', () => {
  test('is a list of modules', () => {
    const model = new nn.Sequential([new nn.Linear(2, 3)])
    model.append(new nn.ReLU(), new nn.Linear(3, 1))
    expect(model.length).toBe(3)
    expect(model.get(-1)).toBe(model[2])
    expect([...model].map(m => m.constructor.name)).toEqual(['Linear', 'ReLU', 'Linear'])
    expect(Object.keys(model.stateDict())).toEqual(['0.weight', '0.bias', '2.weight', '2.bias'])
    expect(model.forward(full([4, 2], 1)).shape).toEqual([4, 1])
    expect(() => model.get(3)).toThrow('Sequential: no module at 3; there are 3')
  })

  test('of nothing gives what it gets', () => {
    const x = full([1], 1)
    expect(new nn.Sequential().forward(x)).toBe(x)
  })
})
