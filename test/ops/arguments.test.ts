import * as anneal from 'anneal'
import { crossEntropy, embedding, gradients, groupNorm, instanceNorm, ones, type Tensor, tensor, zeros } from 'anneal'
import { describe, expect, test } from 'vitest'
import { thrown } from '../support/thrown'

const x = tensor([
  [1, 2],
  [3, 4],
])
const labels = tensor([0, 1], { dtype: 'int64' })

/** Calls as JavaScript can make them, whatever the types say. */
const loose = x as unknown as Record<string, (...args: unknown[]) => Tensor>
const free = anneal as unknown as Record<string, (...args: unknown[]) => Tensor>

const mistakes: [message: string, run: () => unknown][] = [
  ['sum: axis: expected a number or a list of numbers; got null', () => loose.sum!({ axis: null })],
  ['sum: axis: expected a number or a list of numbers; got an array with a string', () => loose.sum!({ axis: ['0'] })],
  ['sum: axis: expected a number or a list of numbers; got an array with a bigint', () => loose.sum!({ axis: [0n] })],
  ['sum: keepDims: expected a boolean; got a string', () => loose.sum!({ keepDims: 'no' })],
  [
    "crossEntropy: reduction: expected one of mean, sum, none; got 'avg'",
    () => crossEntropy(x, labels, null, { reduction: 'avg' as never }),
  ],
  [
    'crossEntropy: reduction: expected one of mean, sum, none; got null',
    () => crossEntropy(x, labels, null, { reduction: null as never }),
  ],
  ['clamp: min: expected a number; got a string', () => loose.clamp!({ min: '0' })],
  ['einsum: equation: expected a string; got a number', () => free.einsum!([x], 3)],
  ["cast: dtype: unknown dtype 'float31'; expected one of float32, ", () => loose.cast!('float31')],
  ['add: b: expected a Tensor, a number or a boolean; got undefined. Use tensor() to make one', () => loose.add!()],
  ['add: b: expected a Tensor, a number or a boolean; got an array', () => loose.add!([1])],
  ['concat: tensors: expected a list of tensors; got a Tensor', () => free.concat!(x)],
  ['concat: tensors: expected a Tensor, a number or a boolean; got a string', () => free.concat!(['x'])],
  ['conv2d: bias: expected a Tensor, a number or a boolean; got an object', () => free.conv2d!(x, x, { stride: 2 })],
  ['zeros: shape: expected an integer; got 0.5', () => zeros([0.5])],
  ['sum: axis: expected an integer; got nan', () => x.sum({ axis: Number.NaN })],
]

describe('arguments of the wrong kind name the op and the argument', () => {
  test.each(mistakes)('%s', (message, run) => {
    const error = thrown(run)
    expect(error.message).toContain(message)
    expect(error.code).toBe(message.includes('unknown dtype') ? 'ERR_DTYPE' : 'ERR_VALUE')
  })
})

describe('options', () => {
  const refused: [message: string, run: () => unknown][] = [
    ['sum: expected options as an object with any of axis, keepDims; got a number', () => loose.sum!(0)],
    ['sum: expected options as an object with any of axis, keepDims; got an array', () => loose.sum!([])],
    ['sum: expected options as an object with any of axis, keepDims; got a Tensor', () => loose.sum!(x)],
    ["sum: unknown option 'dim'; expected any of axis, keepDims", () => loose.sum!({ dim: 0 })],
    ['ones: expected options as an object with any of dtype; got a string', () => free.ones!([2], 'int32')],
    ['dropout: expected options as an object with any of p, training, key; got a number', () => loose.dropout!(0.5)],
  ]
  test.each(refused)('%s', (message, run) => {
    const error = thrown(run)
    expect(error.message).toBe(message)
    expect(error.code).toBe('ERR_VALUE')
  })

  test('may be absent, empty or undefined one by one', async () => {
    for (const options of [undefined, {}, { axis: undefined }, Object.create(null)]) {
      expect(await x.sum(options).item()).toBe(10)
    }
  })
})

test('reshape takes its sizes as an array', () => {
  expect(() => loose.reshape!(2, 2)).toThrow(
    'reshape: [2,2] has 4 elements, [2] has 2; all sizes go into one array, such as [2, 3]',
  )
})

test('what is called inside of an op is named by the op', () => {
  expect(() => crossEntropy(x, tensor([0.5, 1]))).toThrow(
    "crossEntropy: class indices must be integers; got float32[2]; convert them with cast('int64')",
  )
  expect(() => groupNorm(ones([1, 2, 2]), 3)).toThrow('groupNorm: groups = 3 must divide the 2 channels')
  expect(() => instanceNorm(ones([1, 2, 2]), ones([3]))).toThrow('instanceNorm: weight must have the shape [2]')
  const table = ones([2, 2]).requireGrad()
  const far = tensor([7], { dtype: 'int64' })
  const [gradient] = gradients([embedding(table, far)], [table], { gradOutputs: [ones([1, 2])] })
  expect(() => gradient!.dataSync()).toThrow(/embedding: index 7/)
  expect(() =>
    ones([2, 3])
      .crossEntropy(tensor([1, 5], { dtype: 'int64' }))
      .dataSync(),
  ).toThrow(/^crossEntropy: /)
})
