import { dtypes, Parameter, type Tensor, tensor, zeros } from 'anneal'
import { describe, expect, test } from 'vitest'
import { codeOf } from '../support/thrown'

describe('tensor()', () => {
  test('takes numbers, booleans, bigints and nested arrays', async () => {
    expect(await tensor(5).item()).toBe(5)
    expect(tensor(5).shape).toEqual([])
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ])
    expect([x.shape, x.dtype, x.size, x.ndim]).toEqual([[2, 3], 'float32', 6, 2])
    expect(await x.toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ])
    expect(await tensor([true, false]).toArray()).toEqual([true, false])
    expect(await tensor([1n, -(2n ** 62n)]).toArray()).toEqual([1n, -(2n ** 62n)])
    expect(tensor([]).shape).toEqual([0])
    expect(tensor([[], []]).shape).toEqual([2, 0])
  })

  test('finds a dtype that holds values of several kinds, in whatever order they come', async () => {
    for (const values of [
      [true, 2],
      [2, true],
    ]) {
      const x = tensor(values)
      expect([x.dtype, await x.toArray()]).toEqual(['float32', values.map(Number)])
      expect(await tensor(values, { dtype: 'bool' }).toArray()).toEqual([true, true])
      expect(await tensor(values, { dtype: 'int8' }).toArray()).toEqual(values.map(Number))
    }
    for (const values of [
      [1n, 2, true],
      [2, true, 1n],
      [true, 1n, 2],
    ]) {
      const x = tensor(values)
      expect([x.dtype, await x.toArray()]).toEqual(['int64', values.map(BigInt)])
    }
    expect(await tensor([0.5, 1n, true], { dtype: 'float64' }).toArray()).toEqual([0.5, 1, 1])
    expect(await tensor([1n, 0.5], { dtype: 'bfloat16' }).toArray()).toEqual([1, 0.5])
    expect(await tensor([300n, true], { dtype: 'int32' }).toArray()).toEqual([300, 1])
    expect(tensor([[], []], { dtype: 'bool' }).dtype).toBe('bool')
    expect(() => tensor([1n, 0.5])).toThrow(
      "int64 takes integers; got 0.5. For fractions, beside bigints too, say { dtype: 'float64' }",
    )
  })

  test('takes typed arrays in their dtype, and copies them', async () => {
    const data = Float64Array.of(1, 2, 3, 4)
    const x = tensor(data, { shape: [2, 2] })
    data[0] = 9
    expect(x.dtype).toBe('float64')
    expect(await x.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ])
    expect(tensor(Uint8Array.of(1)).dtype).toBe('uint8')
    expect(tensor(BigInt64Array.of(1n)).dtype).toBe('int64')
    expect(await tensor(data.subarray(1, 3)).toArray()).toEqual([2, 3])
    const shared = new Float32Array(new SharedArrayBuffer(16), 4)
    shared.set([1, 2, 3])
    expect(await tensor(shared).toArray()).toEqual([1, 2, 3])
    expect(await tensor(new Uint8Array(new SharedArrayBuffer(0))).toArray()).toEqual([])
  })

  test('takes values with their shape and dtype, as scalers give them', async () => {
    const matrix = { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [3, 2] }
    expect(await tensor(matrix).toArray()).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ])
    expect(tensor(matrix, { dtype: 'int32', shape: [6] }).toString()).toBe('Tensor(int32[6])')
    const flags = { data: Uint8Array.of(1, 0), shape: [2], dtype: 'bool' } as const
    expect(await tensor(flags).toArray()).toEqual([true, false])
    expect(() => tensor({ ...matrix, shape: [2, 2] })).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
    expect(() => tensor({ data: [1, 2], shape: [2] } as never)).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
  })

  test('converts to every dtype, and reads it back', async () => {
    for (const dtype of dtypes) {
      const x = tensor([0, 1, 100], { dtype })
      expect(x.dtype).toBe(dtype)
      const expected = dtype === 'bool' ? [false, true, true] : dtype === 'int64' ? [0n, 1n, 100n] : [0, 1, 100]
      expect(await x.toArray()).toEqual(expected)
    }
  })

  test('keeps NaN and infinities', async () => {
    expect(await tensor([Number.NaN, Infinity, -Infinity]).toArray()).toEqual([Number.NaN, Infinity, -Infinity])
    expect(await tensor([Number.NaN, Infinity, 70000], { dtype: 'float16' }).toArray()).toEqual([
      Number.NaN,
      Infinity,
      Infinity,
    ])
  })

  test('says what is wrong with its input', () => {
    expect(() => tensor([[1, 2], [3]])).toThrow('tensor: ragged array: expected 2 elements at [1]; got an array of 1')
    expect(() => tensor([[1], 2] as never)).toThrow(/expected an array of 1 at \[1\]; got number/)
    expect(() => tensor(['a'] as never)).toThrow(/expected a number, boolean or bigint at \[0\]; got string/)
    expect(() => tensor([1, 2, 3], { shape: [2, 2] })).toThrow(/shape \[2,2\] has 4 elements; the data has 3/)
    expect(() => tensor([1], { dtype: 'float31' as never })).toThrow(
      /unknown dtype 'float31'; expected one of float32, /,
    )
    expect(() => tensor(new Uint16Array(1))).toThrow(/Uint16Array has no dtype/)
    expect(() => tensor([1.5], { dtype: 'int64' })).toThrow(/int64 takes integers; got 1.5/)
    expect(() => tensor([1], { shape: 2 as never })).toThrow('tensor: shape: expected a list of numbers; got a number')
    expect(() => tensor([1], { shape: { length: 1e15 } as never })).toThrow('got an object')
    expect(() => tensor([1], { shape: [1n] as never })).toThrow('got an array with a bigint')
    expect(() => tensor([1], { shape: Array(9).fill(1) })).toThrow('a tensor has at most 8 axes; got 9')
    expect(() => tensor([1], { shape: Array(1e6).fill(1) })).toThrow('a call takes at most 130048 tensors and numbers')
    expect(codeOf(() => tensor([1], { shape: 2 as never }))).toBe('ERR_VALUE')
    expect(codeOf(() => zeros([-1]))).toBe('ERR_SHAPE')
    expect(codeOf(() => zeros([2 ** 40, 2 ** 40]))).toBe('ERR_SHAPE')
    expect(codeOf(() => zeros([1.5]))).toBe('ERR_VALUE')
    expect(codeOf(() => zeros([1, 1, 1, 1, 1, 1, 1, 1, 1]))).toBe('ERR_SHAPE')
  })
})

describe('values', () => {
  test('item is for one element', async () => {
    await expect(tensor([1, 2]).item()).rejects.toThrow(/has 2 elements \(shape \[2\]\), expected 1/)
    expect(tensor([[3]]).itemSync()).toBe(3)
  })

  test('a disposed tensor says so, and disposing twice is harmless', () => {
    const x = tensor([1])
    x.dispose()
    x.dispose()
    expect(() => x.add(1)).toThrow(/disposed/)
    expect(codeOf(() => x.shape)).toBe('ERR_STATE')
  })

  test('a handle of a disposed tensor does not reach its successor', async () => {
    const x = tensor([1])
    x.dispose()
    const y = tensor([2])
    expect(() => x.add(1)).toThrow(/disposed/)
    x.dispose()
    expect(await y.toArray()).toEqual([2])
  })

  test('using frees at the end of the block', () => {
    let kept: Tensor
    {
      using x = tensor([1])
      kept = x
      expect(kept.shape).toEqual([1])
    }
    expect(() => kept.add(1)).toThrow(/disposed/)
  })

  test('ops refuse what is not a tensor', () => {
    expect(() => tensor([1]).add([1] as never)).toThrow(
      /add: b: expected a Tensor, a number or a boolean; got an array/,
    )
    expect(() => tensor([1]).add(undefined as never)).toThrow(/got undefined/)
  })

  test('literals do not promote', () => {
    const int = tensor([1, 2], { dtype: 'int32' })
    expect(int.mul(2).dtype).toBe('int32')
    expect(int.mul(2.5).dtype).toBe('float32')
    expect(tensor([1], { dtype: 'float16' }).mul(2.5).dtype).toBe('float16')
    expect(tensor([1], { dtype: 'float64' }).mul(0.1).dtype).toBe('float64')
    expect(tensor([true]).add(1).dtype).toBe('int32')
    expect(int.add(tensor(1, { dtype: 'int64' })).dtype).toBe('int32')
    expect(int.add(tensor([1], { dtype: 'int64' })).dtype).toBe('int64')
    expect(int.add(tensor(1, { dtype: 'float64' })).dtype).toBe('float64')
  })

  test('float64 literals keep their precision', async () => {
    expect(await tensor(1, { dtype: 'float64' }).mul(0.1).item()).toBe(0.1)
  })
})

describe('parameters', () => {
  test('take new values of their shape and dtype only', async () => {
    const p = new Parameter(tensor([1, 2]))
    p.assign(tensor([3, 4]))
    expect(await p.toArray()).toEqual([3, 4])
    expect(() => p.assign(tensor([1]))).toThrow(/expected float32\[2\]; got float32\[1\]/)
    expect(codeOf(() => p.assign(tensor([1, 2], { dtype: 'float64' })))).toBe('ERR_SHAPE')
  })

  test('convert in place', () => {
    const p = new Parameter(tensor([1, 2]))
    p.convert('float64')
    expect([p.dtype, p.trainable]).toEqual(['float64', true])
  })

  test('of integers are not trainable', () => {
    const p = new Parameter(tensor([1], { dtype: 'int32' }))
    expect(p.trainable).toBe(false)
    expect(() => {
      p.trainable = true
    }).toThrow(/only floating-point tensors have gradients; got int32/)
  })
})
