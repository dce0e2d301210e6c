import { add, bitwiseAnd, floorDiv, mod, prelu, type Tensor, tensor, where } from 'anneal'
import { describe, expect, test } from 'vitest'

const int32 = (values: number[]) => tensor(Int32Array.from(values))

describe('errors say what was wrong, expected and given', () => {
  const cases: [name: string, call: () => Tensor, code: string, message: string][] = [
    [
      'shapes',
      () => add(tensor([[1, 2, 3]]), tensor([1, 2])),
      'ERR_SHAPE',
      'add: shapes do not broadcast: [1,3] with [2]',
    ],
    ['conditions', () => where(tensor([1, 0]), 1, 2), 'ERR_DTYPE', 'where: expected a bool condition; got float32'],
    [
      'bits of floats',
      () => bitwiseAnd(tensor([1]), 1),
      'ERR_DTYPE',
      'bitwiseAnd: expected integers or bool; got float32',
    ],
    [
      'prelu weights',
      () => prelu(tensor([[1, 2, 3]]), tensor([1, 2])),
      'ERR_SHAPE',
      'expected a weight with 1 element',
    ],
    ['powers of bool', () => tensor([true]).pow(true), 'ERR_DTYPE', 'pow: expected numbers; got bool'],
    ['celu', () => tensor([1]).celu({ alpha: 0 }), 'ERR_VALUE', 'celu: expected an alpha other than 0'],
    [
      'choices',
      () => tensor([1]).gelu({ approximate: 'sigmoid' as 'tanh' }),
      'ERR_VALUE',
      'gelu: approximate: expected one of none, tanh',
    ],
    [
      'arrays',
      () => add([1] as unknown as Tensor, 1),
      'ERR_VALUE',
      'add: a: expected a Tensor, a number or a boolean; got an array',
    ],
  ]
  test.each(cases)('%s', (_, call, code, message) => {
    expect(call).toThrowError(expect.objectContaining({ code, message: expect.stringContaining(message) }))
  })

  test.each([
    ['floorDiv', floorDiv],
    ['mod', mod],
  ])('%s of integers by zero rejects the await', async (name, op) => {
    await expect(op(int32([1, 2]), int32([1, 0])).data()).rejects.toMatchObject({
      code: 'ERR_VALUE',
      message: `${name}: division of an integer by zero; expected divisors other than 0`,
    })
  })
})

describe('integers', () => {
  test('the lowest divided by -1 wraps', async () => {
    expect([
      ...(await int32([-(2 ** 31), 7])
        .floorDiv(int32([-1, -1]))
        .data()),
    ]).toEqual([-(2 ** 31), -7])
    expect([
      ...(await int32([-(2 ** 31)])
        .mod(int32([-1]))
        .data()),
    ]).toEqual([0])
  })

  test('sums wrap', async () => {
    expect([
      ...(await int32([2 ** 31 - 1])
        .add(int32([1]))
        .data()),
    ]).toEqual([-(2 ** 31)])
  })
})

describe('large tensors', () => {
  test.each([
    [[1000, 300], [300]],
    [
      [1000, 300],
      [1000, 1],
    ],
    [
      [7, 1, 5000],
      [3, 1],
    ],
    [[50001], []],
  ])('%j + %j agrees with a plain loop', async (left, right) => {
    const sizes = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1)
    const a = tensor(
      Float32Array.from({ length: sizes(left) }, (_, i) => i % 977),
      { shape: left },
    )
    const b = tensor(
      Float32Array.from({ length: sizes(right) }, (_, i) => i % 31),
      { shape: right },
    )
    const sum = a.add(b)
    const [x, y, z] = await Promise.all([a.broadcastTo(sum.shape).data(), b.broadcastTo(sum.shape).data(), sum.data()])
    expect(z.every((v, i) => v === Number(x[i]) + Number(y[i]))).toBe(true)
  })

  test('the vectorised functions hold at every remainder of the vector length', async () => {
    for (let n = 1; n < 40; n++) {
      const values = Float32Array.from({ length: n }, (_, i) => i / 4 - 3)
      const y = await tensor(values).exp().data()
      for (const [i, v] of y.entries()) expect(Number(v)).toBeCloseTo(Math.exp(values[i]!), 2)
    }
  })
})
