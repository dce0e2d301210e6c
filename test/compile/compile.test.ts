import {
  AnnealError,
  Buffer,
  checkpoint,
  compile,
  customGrad,
  grad,
  losses,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  Parameter,
  randomNormal,
  randomState,
  type Tensor,
  tensor,
  where,
} from 'anneal'
import { describe, expect, test } from 'vitest'

const flat = async (t: Tensor) => Array.from(await t.data(), Number)

/** A small network of everything that has state: batch norm, dropout, and an optimizer with momentum. */
class Network extends nn.Module {
  readonly first = new nn.Linear(3, 8)
  readonly norm = new nn.BatchNorm1d(8)
  readonly drop = new nn.Dropout(0.3)
  readonly last = new nn.Linear(8, 2)

  forward(x: Tensor): Tensor {
    return this.last.forward(this.drop.forward(this.norm.forward(this.first.forward(x)).relu()))
  }
}

function network(): Network {
  manualSeed(11)
  return new Network()
}

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

/** A training step written by hand, which both ways of running share. */
function stepOf(model: nn.Module, optimizer: optim.Optimizer) {
  const average = new optim.ExponentialMovingAverage(model.parameters(), { warmUp: true })
  const step = (x: Tensor, y: Tensor): Tensor => {
    optimizer.zeroGrad()
    const loss = losses.crossEntropy(model.forward(x), y)
    loss.backward()
    optim.clipGradNorm(model.parameters(), 0.5)
    optimizer.step()
    average.update()
    return loss
  }
  return { step, average }
}

async function trained(make: (params: Parameter[]) => optim.Optimizer, captured: boolean): Promise<number[][]> {
  const model = network()
  const optimizer = make(model.parameters())
  const { step, average } = stepOf(model, optimizer)
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
  results.push(await flat(run(randomNormal([2, 3]), tensor(Int32Array.of(0, 1)))), randomState())
  return results
}

describe('a captured training step does what the calls one by one do, bit for bit', () => {
  for (const [name, make] of Object.entries(optimizers)) {
    test(name, async () => {
      expect(await trained(make, true)).toEqual(await trained(make, false))
    })
  }
})

describe('what a captured function goes by', () => {
  test('parameters and tensors that it closes over are read at every run', async () => {
    const weight = new Parameter(tensor([2, 3]))
    const run = compile((x: Tensor) => x.mul(weight))
    expect(await flat(run(tensor([1, 1])))).toEqual([2, 3])
    weight.assign(tensor([5, 7]))
    expect(await flat(run(tensor([1, 1])))).toEqual([5, 7])
    weight.assign(
      tensor([[1], [2]])
        .broadcastTo([2, 2])
        .index({}, 0)
        .detach(),
    )
    expect(await flat(run(tensor([1, 1])))).toEqual([1, 2])
    expect(run.graphs).toBe(1)
  })

  test('shapes, dtypes, structure and plain values each have a graph, and old ones are dropped', async () => {
    let captures = 0
    const run = compile(
      ({ x, k }: { x: Tensor[]; k: number }) => {
        captures++
        return x.map(t => t.mul(k))
      },
      { graphs: 2 },
    )
    const one = tensor([1, 2])
    expect(await flat(run({ x: [one], k: 2 })[0]!)).toEqual([2, 4])
    expect(await flat(run({ x: [one], k: 3 })[0]!)).toEqual([3, 6])
    expect(captures).toBe(2)
    run({ x: [one], k: 2 })
    expect(captures).toBe(2)
    expect(run({ x: [one, one], k: 2 })).toHaveLength(2)
    expect([captures, run.graphs]).toEqual([3, 2])
    run({ x: [one], k: 3 })
    expect(captures).toBe(4)
    expect(run({ x: [one.cast('int32')], k: 3 })[0]!.dtype).toBe('int32')
    expect(run({ x: [tensor([[1]])], k: 3 })[0]!.shape).toEqual([1, 1])
    expect(captures).toBe(6)
  })

  test('the mode of modules', async () => {
    const model = new nn.Dropout(0.5)
    const run = compile((x: Tensor) => model.forward(x))
    const x = tensor(new Float32Array(64).fill(1))
    expect(new Set(await flat(run(x)))).toEqual(new Set([0, 2]))
    model.eval()
    expect(new Set(await flat(run(x)))).toEqual(new Set([1]))
    model.train()
    expect(new Set(await flat(run(x)))).toEqual(new Set([0, 2]))
    expect(run.graphs).toBe(2)
  })

  test('settings of the optimizer, and which parameters are frozen', async () => {
    const model = new nn.Linear(2, 1)
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.5 })
    const run = compile((x: Tensor) => {
      optimizer.zeroGrad()
      model.forward(x).sum().backward()
      optimizer.step()
    })
    const bias = model.bias!
    const before = await bias.item()
    run(tensor([[1, 2]]))
    expect(await bias.item()).toBeCloseTo(before - 0.5, 6)
    optimizer.groups[0]!.weightDecay = 1
    run(tensor([[1, 2]]))
    expect(run.graphs).toBe(2)
    bias.trainable = false
    const frozen = await bias.item()
    run(tensor([[1, 2]]))
    expect(await bias.item()).toBe(frozen)
  })

  test('the mode for gradients', async () => {
    const weight = new Parameter(tensor([3]))
    const run = compile((x: Tensor) => x.mul(weight).requiresGrad)
    expect(run(tensor([1]))).toBe(true)
    expect(noGrad(() => run(tensor([1])))).toBe(false)
  })
})

describe('gradients', () => {
  test('that a captured function collects are there afterwards, and add up', async () => {
    const weight = new Parameter(tensor([1, 2]))
    const run = compile((x: Tensor) => x.mul(weight).sum().backward())
    run(tensor([3, 4]))
    expect(await flat(weight.grad!)).toEqual([3, 4])
    run(tensor([10, 20]))
    run(tensor([100, 200]))
    expect(await flat(weight.grad!)).toEqual([113, 224])
    expect(run.graphs).toBe(2) // without and with a gradient from before
    weight.grad = undefined
    run(tensor([1, 1]))
    expect(await flat(weight.grad!)).toEqual([1, 1])
  })

  test('of higher order, of checkpoints and of the caller’s own', async () => {
    const weight = new Parameter(tensor([0.3, -0.7]))
    const inside = (x: Tensor) => {
      const cubed = checkpoint(t => t.mul(weight).dropout({ p: 0.5 }).tanh(), x)
      const [doubled] = customGrad(
        [cubed],
        t => [t!.mul(2)],
        grads => [grads[0]!.mul(2)],
      )
      const second = grad((t: Tensor) => grad((u: Tensor) => u.pow(3).sum())(t)[0]!.sum())(x)[0]!
      const loss = doubled!.mul(second).sum()
      loss.backward()
      const found = weight.grad!
      weight.grad = undefined
      return [loss, found]
    }
    const x = tensor([1.5, 2.5])
    const run = compile(inside)
    for (let i = 0; i < 3; i++) {
      manualSeed(i)
      const expected = await Promise.all(inside(x).map(flat))
      manualSeed(i)
      expect(await Promise.all(run(x).map(flat))).toEqual(expected)
    }
  })

  test('do not flow into or out of a captured function in silence', () => {
    const run = compile((x: Tensor) => x.mul(2).sum())
    const x = tensor([1, 2], { requiresGrad: true })
    expect(() => run(x)).toThrow(/argument tensor 0 requires a gradient/)
    expect(() => run(x.detach()).backward()).toThrow(/compiled function/)
  })
})

describe('state', () => {
  test('buffers keep what was assigned, and snapshots keep what was there before', async () => {
    const count = new Buffer(tensor([0]))
    const run = compile(() => {
      const before = count.detach()
      count.assign(count.add(1))
      count.assign(count.mul(2))
      return [before, count.add(0)]
    })
    const snapshots: Tensor[] = []
    for (const [before, after] of [
      [0, 2],
      [2, 6],
      [6, 14],
    ]) {
      const [a, b] = run()
      expect([await a!.item(), await b!.item()]).toEqual([before, after])
      snapshots.push(count.detach())
    }
    expect(await Promise.all(snapshots.map(t => t.item()))).toEqual([2, 6, 14])
  })

  test('a run that fails leaves parameters as they were', async () => {
    const table = new Parameter(tensor([[1], [2]]))
    const other = new Buffer(tensor([5]))
    const run = compile((index: Tensor) => {
      table.grad = undefined
      const loss = table.indexSelect(index, 0).sum()
      loss.backward()
      other.assign(other.add(loss.detach()))
      return loss
    })
    expect(await run(tensor(Int32Array.of(0))).item()).toBe(1)
    const lost = run(tensor(Int32Array.of(7)))
    await expect(lost.item()).rejects.toThrow(/index 7 .*out of range/)
    expect(await flat(other)).toEqual([6])
    expect(await run(tensor(Int32Array.of(1))).item()).toBe(2)
    expect(await flat(other)).toEqual([8])
  })

  test('two cells may trade values', async () => {
    const [a, b] = [new Buffer(tensor([1])), new Buffer(tensor([2]))]
    const swap = compile(() => {
      const old = a.detach()
      a.assign(b)
      b.assign(old)
    })
    swap()
    expect([await a.item(), await b.item()]).toEqual([2, 1])
    swap()
    expect([await a.item(), await b.item()]).toEqual([1, 2])
  })

  test('random numbers go on as without capturing', async () => {
    const draw = () => randomNormal([5])
    const run = compile(draw)
    manualSeed(3)
    const plain = [await flat(draw()), await flat(draw()), randomState()]
    manualSeed(3)
    expect([await flat(run()), await flat(run()), randomState()]).toEqual(plain)
  })

  test('memory stays flat over many runs', async () => {
    const { step } = stepOf(network(), new optim.SGD(network().parameters(), { lr: 0.1 }))
    const run = compile(step)
    const [x, y] = [randomNormal([4, 3]), tensor(Int32Array.of(0, 1, 0, 1))]
    for (let i = 0; i < 20; i++) run(x, y).dispose()
    const { used } = memory()
    for (let i = 0; i < 500; i++) run(x, y).dispose()
    expect(memory().used).toBe(used)
  })
})

describe('what cannot be captured is refused, with the line and the way out', () => {
  const x = tensor([1, 2])
  const refused = (fn: (x: Tensor) => unknown) => {
    try {
      compile(fn)(x)
    } catch (error) {
      expect(error).toBeInstanceOf(AnnealError)
      return error as AnnealError
    }
    return expect.fail('nothing was thrown')
  }

  test.each([
    ['data', (t: Tensor) => t.data()],
    ['dataSync', (t: Tensor) => t.dataSync()],
    ['item', (t: Tensor) => t.sum().item()],
    ['itemSync', (t: Tensor) => t.sum().itemSync()],
    ['toArray', (t: Tensor) => t.toArray()],
    ['ready', (t: Tensor) => t.ready()],
    ['bytes', (t: Tensor) => t.bytes()],
    ['comparison', (t: Tensor) => ((t as unknown as number) > 1 ? t : t.neg())],
    ['a read that the function does not wait for', (t: Tensor) => void t.data()],
    ['a read that the function catches', async (t: Tensor) => t.data().catch(() => t)],
    ['manualSeed', () => manualSeed(1)],
    ['Math.random', (t: Tensor) => t.mul(Math.random())],
  ])('%s', (_, fn) => {
    const error = refused(fn)
    expect(error.code).toBe('ERR_CAPTURE')
    expect(error.message).toMatch(/compile\.test\.ts:\d+:\d+/)
    expect(error.message).toMatch(/where\(\)|outside/)
  })

  test('async functions, new parameters, and arguments of other kinds', () => {
    expect(refused(async t => t).message).toMatch(/is async/)
    expect(refused(t => new Parameter(t)).message).toMatch(/made outside/)
    expect(() => compile((d: Date) => d)(new Date())).toThrow(/got Date/)
    expect(() => compile(() => 1, { graphs: 0 })).toThrow(/graphs must be a whole number/)
  })

  test('tensors without values that leave the function otherwise than by being returned', () => {
    let leaked: Tensor | undefined
    compile((t: Tensor) => {
      leaked = t.add(1)
    })(x)
    expect(() => leaked!.add(1)).toThrow(/disposed/)
  })

  test('an error of the function itself comes through, and nothing is left behind', async () => {
    const weight = new Parameter(tensor([1, 1]))
    let fails = true
    const run = compile((t: Tensor) => {
      weight.grad = undefined
      t.mul(weight).sum().backward()
      weight.assign(t)
      if (fails) throw new RangeError('mine')
      return t
    })
    expect(() => run(x)).toThrow(RangeError)
    expect(weight.grad).toBeUndefined()
    expect(await flat(weight)).toEqual([1, 1])
    expect(await flat(x.add(1))).toEqual([2, 3])
    fails = false
    run(x)
    expect(await flat(weight)).toEqual([1, 2])
  })
})

test('a compiled function inside of another becomes part of it', async () => {
  const inner = compile((x: Tensor) => x.mul(3))
  const outer = compile((x: Tensor) => inner(x).add(1))
  expect(await flat(outer(tensor([1, 2])))).toEqual([4, 7])
  expect(inner.graphs).toBe(0)
})

test('results may be arguments, parameters, constants and views', async () => {
  const weight = new Parameter(tensor([7]))
  const run = compile((x: Tensor) => ({
    same: x,
    weight,
    constant: tensor([9]),
    row: x.mul(2).index(1),
    chosen: where(x.greater(2), x, 0),
    plain: 'text',
  }))
  const x = tensor([
    [1, 2],
    [3, 4],
  ])
  for (let i = 0; i < 2; i++) {
    const { same, weight: w, constant, row, chosen, plain } = run(x)
    expect(await Promise.all([same, w, constant, row, chosen].map(flat))).toEqual([
      [1, 2, 3, 4],
      [7],
      [9],
      [6, 8],
      [0, 0, 3, 4],
    ])
    expect(plain).toBe('text')
  }
})

test('an explanation names the operations, with time and bytes', async () => {
  const run = compile((x: Tensor) => x.matmul(x).softmax())
  const explanation = await run.explain(tensor([[1, 2], [3, 4]])) // biome-ignore format: one line
  expect(explanation.operations.map(op => op.name)).toEqual(['matmul', 'softmax'])
  expect(explanation.operations.every(op => op.nanoseconds >= 0 && op.bytes > 0)).toBe(true)
  expect(String(explanation)).toMatch(/matmul .*\nsoftmax\(axis=-1\)/)
})
