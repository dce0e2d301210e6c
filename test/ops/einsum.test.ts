import { einsum, tensor } from 'anneal'
import { expect, test } from 'vitest'

const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((n, d) => n * d, 1)), { shape })
const code = (expected: string) => expect.objectContaining({ code: expected })

test('errors', () => {
  expect(() => einsum([zeros(2, 3), zeros(4, 5)], 'ij,jk->ik')).toThrow("einsum: label 'j' has the sizes 3 and 4")
  expect(() => einsum([zeros(2, 3)], 'ij,jk->ik')).toThrow("einsum: 'ij,jk->ik' has 2 terms for 1 operands")
  expect(() => einsum([zeros(2, 3)], 'ijk->i')).toThrow("einsum: 'ijk' names 3 axes; operand 0 has the shape [2,3]")
  expect(() => einsum([zeros(2, 3)], 'i1->i')).toThrow(/'1' in 'i1->i' is not a label/)
  expect(() => einsum([zeros(2, 3)], 'ij->k')).toThrow("einsum: label 'k' of the result is in no operand")
  expect(() => einsum([zeros(2, 3)], 'ij->ii')).toThrow("einsum: label 'i' is in the result twice")
  expect(() => einsum([zeros(2, 3)], 'ii->i')).toThrow("einsum: label 'i' repeats with sizes 2 and 3")
  expect(() => einsum([zeros(2), zeros(2).cast('float64')], 'i,i')).toThrow(code('ERR_DTYPE'))
  expect(() => einsum([zeros(2, 2)], '.ij->i')).toThrow(code('ERR_VALUE'))
})

test('integers are contracted exactly', async () => {
  const a = tensor([1, 2, 3, 4, 5, 6], { dtype: 'int64' }).reshape([2, 3])
  const b = tensor([1, 0, 2, 1, 0, 3], { dtype: 'int64' }).reshape([3, 2])
  expect(Array.from(await einsum([a, b], 'ij,jk->ki').data(), Number)).toEqual([5, 14, 11, 23])
  expect(Array.from(await einsum([a], 'ij->j').data(), Number)).toEqual([5, 7, 9])
})
