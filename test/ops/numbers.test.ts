// Numbers that are seen in a shape by broadcasting, and so lie in no memory until an operation needs that.
import {
  broadcastTo,
  compile,
  concat,
  flip,
  layerNorm,
  losses,
  ones,
  pad,
  stack,
  type Tensor,
  tensor,
  tril,
  zeros,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { flat } from '../support/values'

const many = (value: number, n: number) => Array<number>(n).fill(value)
const half = (n: number) => broadcastTo(0.5, [n])

const cases: Record<string, [() => Tensor, number[]]> = {
  'concat at an odd place': [() => concat([zeros([3]), half(9)]), [...many(0, 3), ...many(0.5, 9)]],
  'concat in a row': [
    () => concat([tensor([[1, 2, 3]]), broadcastTo(0.5, [1, 8])], { axis: 1 }),
    [1, 2, 3, ...many(0.5, 8)],
  ],
  stack: [() => stack([ones([5]), half(5)]), [...many(1, 5), ...many(0.5, 5)]],
  pad: [() => pad(half(9), [3, 0]), [...many(0, 3), ...many(0.5, 9)]],
  'pad by reflection': [() => pad(half(9), [3, 0], { mode: 'reflect' }), many(0.5, 12)],
  flip: [() => concat([tensor([1]), flip(half(8))]), [1, ...many(0.5, 8)]],
  tril: [() => tril(broadcastTo(2.5, [1, 1])), [2.5]],
  'a row norm': [() => layerNorm(broadcastTo(2.5, [2, 4])), many(0, 8)],
  'a norm of one': [() => layerNorm(broadcastTo(2.5, [1, 1])), [0]],
  'a loss': [() => losses.crossEntropy(broadcastTo(2.5, [1, 1]), tensor(Int32Array.of(0))), [0]],
  sum: [() => half(1000).sum(), [500]],
  matmul: [() => broadcastTo(2.5, [2, 3]).matmul(broadcastTo(0.5, [3, 2])), many(3.75, 4)],
}

describe('numbers seen in a shape', () => {
  test.each(Object.entries(cases))('%s', async (_, [run, expected]) => {
    expect(await flat(run())).toEqual(expected)
    expect(await flat(compile(run)())).toEqual(expected)
  })
})
