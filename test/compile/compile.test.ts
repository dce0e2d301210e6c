import { compile, Parameter, type Tensor, tensor, where } from 'anneal'
import { expect, test } from 'vitest'
import { flat } from '../support/values'

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
