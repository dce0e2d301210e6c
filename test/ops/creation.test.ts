import { arange, eye, full, linspace, type Tensor, tensor, zeros } from 'anneal'
import { describe, expect, test, vi } from 'vitest'
import { codeOf } from '../support/thrown'

const list = (t: Tensor) => Array.from(t.dataSync(), Number)

test('arange takes a stop, a start and a stop, or a step too', () => {
  expect(list(arange(3))).toEqual([0, 1, 2])
  expect(list(arange(2, 5))).toEqual([2, 3, 4])
  expect(list(arange(5, 0, -2))).toEqual([5, 3, 1])
  expect(list(arange(0, 1, 0.25))).toEqual([0, 0.25, 0.5, 0.75])
  expect(list(arange(5, 2))).toEqual([])
  expect(arange(3, { dtype: 'int64' }).dtype).toBe('int64')
  expect(arange(1, 7, 2, { dtype: 'int32' }).dtype).toBe('int32')
  for (const bad of [() => arange(Number.NaN), () => arange(0, 1, 0), () => arange(0, Number.POSITIVE_INFINITY)]) {
    expect(bad).toThrow('arange: expected (stop), (start, stop) or (start, stop, step), finite')
  }
})

test('impossible sizes are errors', () => {
  expect(() => zeros([-1])).toThrow('zeros: sizes must be 0 or more; got [-1]')
  expect(() => zeros([2 ** 40, 2 ** 40])).toThrow('has too many elements')
  expect(() => zeros([0.5])).toThrow('shape: expected an integer; got 0.5')
  expect(() => linspace(0, 1, -1)).toThrow('sizes must be 0 or more')
  expect(() => eye(-2)).toThrow('sizes must be 0 or more')
})

test('values that an integer dtype does not hold are errors', () => {
  expect(() => full([2], 300, { dtype: 'uint8' })).toThrow('full: uint8 holds 0 to 255; got 300')
  expect(() => full([2], -1, { dtype: 'uint8' })).toThrow('full: uint8 holds 0 to 255; got -1')
  expect(() => full([2], Number.NaN, { dtype: 'int32' })).toThrow(
    'full: int32 holds -2147483648 to 2147483647; got nan',
  )
  expect(() => full([2], 2 ** 63, { dtype: 'int64' })).toThrow('full: int64 holds ')
  expect(() => tensor([1], { dtype: 'int8' }).fullLike(Infinity)).toThrow('fullLike: int8 holds -128 to 127; got inf')
  expect(codeOf(() => full([2], 300, { dtype: 'uint8' }))).toBe('ERR_VALUE')
  expect(list(full([1], 127.9, { dtype: 'int8' }))).toEqual([127])
  expect(list(full([1], -0.5, { dtype: 'uint8' }))).toEqual([0])
  expect(list(full([1], -(2 ** 63), { dtype: 'int64' }))).toEqual([-(2 ** 63)])
  expect(list(full([1], Number.NaN, { dtype: 'bool' }))).toEqual([1])
})

describe('format', () => {
  const text = (t: Tensor, options = {}) => t.format(options)

  test('floats are aligned and as precise as they need', async () => {
    expect(
      await text(
        tensor([
          [1, 2.25],
          [-1000, 0.5],
        ]),
      ),
    ).toBe('[[    1.00,     2.25],\n [-1000.00,     0.50]]\nfloat32 [2, 2]')
    expect(await text(tensor([1, 2]))).toBe('[1., 2.]\nfloat32 [2]')
    expect(await text(tensor([0.1, 1 / 3]), { precision: 2 })).toBe('[0.10, 0.33]\nfloat32 [2]')
    expect(await text(tensor([1e-6, 1]))).toBe('[1e-6, 1e+0]\nfloat32 [2]')
    expect(await text(tensor([Number.NaN, Number.POSITIVE_INFINITY, -0.5, Number.NEGATIVE_INFINITY]))).toBe(
      '[ nan,  inf, -0.5, -inf]\nfloat32 [4]',
    )
    expect(await text(tensor([Number.NaN]))).toBe('[nan]\nfloat32 [1]')
  })

  test('other dtypes, scalars and empty tensors', async () => {
    expect(await text(tensor([1, -20], { dtype: 'int64' }))).toBe('[  1, -20]\nint64 [2]')
    expect(await text(tensor([[true], [false]]))).toBe('[[ true],\n [false]]\nbool [2, 1]')
    expect(await text(full([2], 1.5, { dtype: 'bfloat16' }))).toBe('[1.5, 1.5]\nbfloat16 [2]')
    expect(await text(tensor(3))).toBe('3.\nfloat32 []')
    expect(await text(zeros([0, 3]))).toBe('[]\nfloat32 [0, 3]')
    expect(await text(zeros([2, 0]))).toBe('[[],\n []]\nfloat32 [2, 0]')
  })

  test('matrices of a stack stand apart', async () => {
    expect(await text(arange(4).reshape([2, 1, 2]))).toBe('[[[0., 1.]],\n\n [[2., 3.]]]\nfloat32 [2, 1, 2]')
  })

  test('large tensors are summarised at every axis', async () => {
    expect(await text(arange(100).reshape([10, 10]), { threshold: 50, edgeItems: 1 })).toBe(
      '[[ 0., …,  9.],\n …,\n [90., …, 99.]]\nfloat32 [10, 10]',
    )
    const shown = await text(zeros([1000, 1000]))
    expect(shown.length).toBeLessThan(500)
  })

  test('print writes it, and bad options are errors', async () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => {})
    await tensor([1]).print()
    expect(log).toHaveBeenCalledWith('[1.]\nfloat32 [1]')
    log.mockRestore()
    await expect(tensor([1]).format({ precision: -1 })).rejects.toMatchObject({ code: 'ERR_VALUE' })
  })
})
