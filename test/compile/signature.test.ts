import { compile, nn, noGrad, optim, Parameter, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { flat } from '../support/values'

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

  test('functions, and objects without a prototype', async () => {
    const run = compile((x: Tensor, f: (x: Tensor) => Tensor) => f(x))
    const by = (k: number) => (x: Tensor) => x.mul(k)
    const two = by(2)
    for (const [f, expected] of [
      [two, 2],
      [by(3), 3],
      [two, 2],
    ] as const)
      expect(await run(tensor(1), f).item()).toBe(expected)
    expect(run.graphs).toBe(2)
    const divide = compile((x: Tensor, { by }: { by: number }) => x.div(by))
    expect(await divide(tensor(1), Object.assign(Object.create(null), { by: 2 })).item()).toBe(0.5)
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

  test('what is frozen, and thawed again', async () => {
    const weight = new Parameter(tensor([2]))
    const run = compile((x: Tensor) => {
      weight.grad = undefined
      const y = x.mul(weight).sum()
      if (y.requiresGrad) y.backward()
      return y
    })
    for (const trainable of [true, false, true, false, true]) {
      weight.trainable = trainable
      expect(await run(tensor([5])).item()).toBe(10)
      expect(await weight.grad?.item()).toBe(trainable ? 5 : undefined)
    }
    expect(run.graphs).toBe(2)
  })

  test('a function that freezes and thaws by itself', async () => {
    const [own, other] = [new Parameter(tensor([2])), new Parameter(tensor([3]))]
    const run = compile((x: Tensor) => {
      own.grad = undefined
      other.trainable = false
      x.mul(own).mul(other).sum().backward()
      other.trainable = true
    })
    for (let i = 0; i < 3; i++) {
      run(tensor([5]))
      expect(await own.grad!.item()).toBe(15)
      expect(other.grad).toBeUndefined()
    }
    expect(run.graphs).toBe(1)
    const collected = tensor([7])
    other.grad = collected
    other.trainable = false
    expect(other.grad).toBeUndefined()
    other.trainable = true
    expect(await other.grad!.item()).toBe(7)
  })

  test('groups of the optimizer, their parameters and lists of settings', async () => {
    const train = async (captured: boolean) => {
      const parameters = Array.from({ length: 4 }, () => new Parameter(tensor([1, 2])))
      const [a, b, c, d] = parameters as [Parameter, Parameter, Parameter, Parameter]
      const optimizer = new optim.Adam([a], { lr: 0.5 })
      const step = () => {
        const sum = [a, b, c, d].map(p => p.square().sum()).reduce((x, y) => x.add(y))
        sum.backward()
        optimizer.step()
        for (const p of parameters) p.grad = undefined
      }
      const run = captured ? compile(step) : step
      const seen: number[][] = []
      const runs = async () => {
        for (let i = 0; i < 2; i++) run()
        for (const p of parameters) seen.push(await flat(p))
      }
      const [group] = optimizer.groups
      await runs()
      optimizer.groups.push({ ...optimizer.defaults, params: [b] })
      await runs()
      group!.params.push(c)
      await runs()
      group!.params[0] = d
      await runs()
      ;(group!.betas as [number, number])[0] = 0.5
      await runs()
      optimizer.groups[0] = { ...group!, lr: 0.1 }
      await runs()
      optimizer.groups = optimizer.groups.slice(0, 1)
      await runs()
      optimizer.groups[0]!.params.pop()
      await runs()
      return seen
    }
    expect(await train(true)).toEqual(await train(false))
  })

  test('the mode for gradients', async () => {
    const weight = new Parameter(tensor([3]))
    const run = compile((x: Tensor) => x.mul(weight).requiresGrad)
    expect(run(tensor([1]))).toBe(true)
    expect(noGrad(() => run(tensor([1])))).toBe(false)
  })
})
