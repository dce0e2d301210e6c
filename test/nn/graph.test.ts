import { full, type Tensor, tensor } from 'anneal'
import * as nn from 'anneal/nn'
import { describe, expect, test } from 'vitest'

describe('functional graphs', () => {
  test('a chain computes what the layers compute', async () => {
    const [a, b] = [new nn.Linear(3, 4), new nn.Linear(4, 2)]
    const x = nn.input([3])
    const y = x.pipe(a, new nn.ReLU(), b)
    expect(y.shape).toEqual([2])
    const model = new nn.Graph({ inputs: x, outputs: y })
    const data = tensor([
      [1, -2, 3],
      [4, 5, -6],
    ])
    expect(await model.forward(data).toArray()).toEqual(await b.forward(a.forward(data).relu()).toArray())
    expect(Object.keys(model.stateDict())).toEqual([
      'layers.0.weight',
      'layers.0.bias',
      'layers.2.weight',
      'layers.2.bias',
    ])
  })

  test('several inputs and outputs by name, with a shared trunk', async () => {
    const image = nn.input([4, 4, 1])
    const facts = nn.input([3])
    const seen = image.pipe(new nn.Conv2d(1, 2, 3), new nn.Flatten())
    const trunk = nn.concat([seen, facts]).pipe(new nn.Linear(11, 5), new nn.Tanh())
    const model = new nn.Graph({
      inputs: { image, facts },
      outputs: { kind: trunk.pipe(new nn.Linear(5, 3)), age: trunk.pipe(new nn.Linear(5, 1)) },
    })
    const given = { image: full([2, 4, 4, 1], 1), facts: full([2, 3], 2) }
    const outputs = model.forward(given) as Record<string, Tensor>
    expect(Object.entries(outputs).map(([name, t]) => [name, t.shape])).toEqual([
      ['kind', [2, 3]],
      ['age', [2, 1]],
    ])
    outputs.kind!.sum().add(outputs.age!.sum()).backward()
    expect(model.parameters().every(p => p.grad !== undefined)).toBe(true)
    expect(model.summary([2, 4, 4, 1], [2, 3])).toMatch(
      /model \(Graph\) +kind \[2, 3\]|model \(Graph\) +kind: \[2, 3\]/,
    )
  })

  test('a layer applied twice shares its parameters', async () => {
    const shared = new nn.Linear(2, 2)
    const [a, b] = [nn.input([2]), nn.input([2])]
    const distance = nn.subtract(nn.apply(shared, a), nn.apply(shared, b))
    const model = new nn.Graph({ inputs: [a, b], outputs: distance })
    expect(model.parameters()).toHaveLength(2)
    const x = tensor([[1, 2]])
    expect(await model.forward(x, x).toArray()).toEqual([[0, 0]])
    model
      .forward(x, tensor([[3, 5]]))
      .sum()
      .backward()
    expect(await shared.weight.grad!.toArray()).toEqual([
      [-2, -3],
      [-2, -3],
    ])
    expect(await shared.bias!.grad!.toArray()).toEqual([0, 0])
  })

  test('sums and products of nodes', async () => {
    const [a, b] = [nn.input([2]), nn.input([1])]
    const model = new nn.Graph({ inputs: [a, b], outputs: [nn.add(a, b), nn.multiply(a, b, a)] })
    const [sum, product] = model.forward(tensor([[1, 2]]), tensor([[3]])) as Tensor[]
    expect(await sum!.toArray()).toEqual([[4, 5]])
    expect(await product!.toArray()).toEqual([[3, 12]])
  })

  test('integer inputs', () => {
    const words = nn.input([7], { dtype: 'int64' })
    const embedded = words.pipe(new nn.Embedding(10, 4))
    expect([embedded.shape, embedded.dtype]).toEqual([[7, 4], 'float32'])
  })

  test('applying leaves modes, statistics and gradients alone', async () => {
    const norm = new nn.BatchNorm1d(3)
    const drop = new nn.Dropout(0.5).eval()
    nn.input([3]).pipe(norm, drop)
    expect([norm.training, drop.training]).toEqual([true, false])
    expect(await norm.runningVar!.toArray()).toEqual([1, 1, 1])
  })

  test('outputs in the middle, and ten thousand steps', async () => {
    const one = new nn.Identity()
    const x = nn.input([1])
    let y = x
    for (let i = 0; i < 10_000; i++) y = y.pipe(one)
    const model = new nn.Graph({ inputs: x, outputs: [y, x] })
    const outputs = model.forward(tensor([[5]])) as Tensor[]
    expect(await outputs[0]!.toArray()).toEqual([[5]])
    expect(model.layers).toHaveLength(1)
  })

  test('mistakes are named', () => {
    const [a, b] = [nn.input([2]), nn.input([2])]
    const sum = nn.add(a, b)
    expect(() => new nn.Graph({ inputs: a, outputs: sum })).toThrow(/depends on an input that is not among the inputs/)
    expect(() => new nn.Graph({ inputs: [a, b], outputs: a.pipe(new nn.ReLU()) })).toThrow(/input 1 is not connected/)
    expect(() => new nn.Graph({ inputs: [] as never, outputs: a })).toThrow(/expected inputs to be a node/)
    expect(() => nn.apply(new nn.Linear(3, 1), a)).toThrow(
      'Linear: expected inputs of size 3 in the last axis; got [1,2]',
    )
    expect(() => nn.apply(new nn.ReLU(), full([1], 1) as never)).toThrow(/apply: expected nodes/)
    expect(() => nn.input([-1])).toThrow(/every size to be an integer from 0 on; got -1/)
    const model = new nn.Graph({ inputs: { a, b }, outputs: sum })
    expect(() => model.forward({ a: full([1, 2], 1) })).toThrow(/expected 2 inputs \(a, b\); got 1/)
    expect(() => model.forward({ a: full([1, 2], 1), c: full([1, 2], 1) })).toThrow(/expected a tensor as input b/)
    expect(() => model.forward({ a: full([1, 2], 1), b: full([1, 3], 1) })).toThrow(
      /input b: expected shape \[N,2\]; got \[1,3\]/,
    )
  })
})
