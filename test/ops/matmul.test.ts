import { type DType, linear, matmul, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'

/** Small whole numbers, whose products are exact in every dtype's accumulator. */
function numbers(count: number, salt: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => ((i * 7 + salt * 3) % 11) - 5)
}

function reference(a: Float32Array, b: Float32Array, m: number, k: number, n: number): number[] {
  const out = new Array<number>(m * n).fill(0)
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) {
      const x = a[i * k + p]!
      for (let j = 0; j < n; j++) out[i * n + j]! += x * b[p * n + j]!
    }
  }
  return out
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from({ length: rows * columns }, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!)
}

const make = (values: Float32Array, shape: number[], dtype: DType): Tensor => tensor(values, { shape }).cast(dtype)
const list = async (t: Tensor): Promise<number[]> => Array.from(await t.data(), Number)

describe('products larger than one block', () => {
  const sizes: [number, number, number][] = [
    [5, 3, 7],
    [1, 300, 70],
    [1, 1500, 301],
    [70, 300, 1],
    [150, 300, 70],
    [13, 600, 129],
    [300, 33, 5],
    [200, 1, 300],
    [310, 520, 280],
    [1030, 8200, 6], // packed in parts
    [6, 8200, 1030],
    [40, 6500, 50], // as sums over parts of the depth
  ]
  for (const [m, k, n] of sizes) {
    const a = numbers(m * k, 1)
    const b = numbers(k * n, 2)
    const exact = reference(a, b, m, k, n)
    test.each(['float32', 'float64', 'int32', 'int64'] as const)(`[${m},${k}] x [${k},${n}] %s`, async dtype => {
      const straightA = make(a, [m, k], dtype)
      const straightB = make(b, [k, n], dtype)
      const turnedA = make(transposed(a, m, k), [k, m], dtype).permute([1, 0])
      const turnedB = make(transposed(b, k, n), [n, k], dtype).permute([1, 0])
      for (const left of [straightA, turnedA]) {
        for (const right of [straightB, turnedB]) expect(await list(matmul(left, right))).toEqual(exact)
      }
    })
  }

  test('16-bit floats accumulate in float32', async () => {
    const ones = tensor(new Float32Array(3000).fill(1), { shape: [1, 3000] })
    for (const dtype of ['float16', 'bfloat16'] as const) {
      const x = ones.cast(dtype)
      const expected = dtype === 'float16' ? 3000 : 3008
      expect(await list(matmul(x, x.permute([1, 0])))).toEqual([expected])
      const [m, k, n] = [150, 300, 70]
      const [a, b] = [numbers(m * k, 1), numbers(k * n, 2)]
      const rounded = tensor(reference(a, b, m, k, n)).cast(dtype)
      const product = matmul(make(a, [m, k], dtype), make(transposed(b, k, n), [n, k], dtype).permute([1, 0]))
      expect(await list(product)).toEqual(await list(rounded))
    }
  })
})

test('many small matrices, and a batch that is shared', async () => {
  const [batch, m, k, n] = [37, 9, 20, 11]
  const a = numbers(batch * m * k, 3)
  const b = numbers(k * n, 4)
  const exact = reference(a, b, batch * m, k, n)
  const left = tensor(a, { shape: [batch, m, k] })
  expect(await list(matmul(left, tensor(b, { shape: [k, n] })))).toEqual(exact)
  const repeated = tensor(b, { shape: [1, k, n] }).broadcastTo([batch, k, n])
  expect(await list(matmul(left, repeated))).toEqual(exact)
})

test('heads side by side are multiplied in place', async () => {
  const [t, h, d] = [6, 3, 4]
  const values = numbers(2 * t * h * d, 5)
  const heads = tensor(values, { shape: [2, t, h, d] }).permute([0, 2, 1, 3])
  const copied = heads.contiguous()
  const expected = await list(matmul(copied, copied.permute([0, 1, 3, 2])))
  expect(await list(matmul(heads, heads.permute([0, 1, 3, 2])))).toEqual(expected)
})

test('linear adds its bias in every path', async () => {
  for (const [rows, inner, out] of [
    [3, 4, 5],
    [1, 2000, 70],
    [64, 300, 1],
    [100, 300, 65],
  ] as const) {
    const x = numbers(rows * inner, 6)
    const w = numbers(out * inner, 7)
    const bias = numbers(out, 8)
    const product = reference(x, transposed(w, out, inner), rows, inner, out)
    for (const dtype of ['float32', 'float64', 'int32'] as const) {
      const y = linear(make(x, [rows, inner], dtype), make(w, [out, inner], dtype), make(bias, [out], dtype))
      expect(await list(y)).toEqual(product.map((v, i) => v + bias[i % out]!))
    }
  }
})

describe('errors', () => {
  const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((n, d) => n * d, 1)), { shape })
  const code = (expected: string) => expect.objectContaining({ code: expected })

  test('matmul', () => {
    expect(() => matmul(zeros(2, 3), zeros(4, 5))).toThrow('matmul: inner sizes differ: [2,3] x [4,5]')
    expect(() => matmul(zeros(2, 3), zeros(4, 5))).toThrow(code('ERR_SHAPE'))
    expect(() => matmul(zeros(2, 2, 3), zeros(3, 3, 5))).toThrow(code('ERR_SHAPE'))
    expect(() => matmul(zeros(3), tensor(2))).toThrow(/at least one axis.*use mul/)
    expect(() => matmul(zeros(2, 2), zeros(2, 2).cast('float64'))).toThrow(
      'matmul: dtypes differ: float32 x float64; cast() one to the other',
    )
    expect(() => matmul(zeros(2, 2).cast('bool'), zeros(2, 2).cast('bool'))).toThrow(code('ERR_DTYPE'))
  })

  test('linear', () => {
    expect(() => linear(zeros(2, 3), zeros(5, 4))).toThrow(
      'linear: inner sizes differ: x [2,3], weight [out, in] [5,4]',
    )
    expect(() => linear(zeros(2, 3), zeros(3))).toThrow(code('ERR_SHAPE'))
    expect(() => linear(zeros(2, 3), zeros(4, 3), zeros(3))).toThrow('linear: the bias has one element for each output')
    expect(() => linear(zeros(2, 3), zeros(4, 3).cast('float64'))).toThrow(code('ERR_DTYPE'))
  })
})
