import { autocast, compile, linear, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { place } from '../support/device'

const fp8 = <R>(fn: () => R): R => autocast(fn, { fp8: true })
const list = async (t: Tensor) => Array.from(await t.data(), Number)

/** Numbers that bfloat16 has. */
function values(shape: number[], salt: number, size = 1): Tensor {
  const count = shape.reduce((n, d) => n * d, 1)
  const data = Float32Array.from(
    { length: count },
    (_, i) => (Math.round(Math.sin(i * i * 0.37 + salt) * 60) / 32) * size,
  )
  return place(tensor(data, { shape }))
}

/** The nearest number of 4 bits of exponent and 3 of mantissa, written out. */
function rounded(v: number): number {
  const magnitude = Math.abs(v)
  const step = 2 ** (Math.max(-6, Math.floor(Math.log2(magnitude || 1))) - 3)
  const low = Math.floor(magnitude / step)
  const rest = magnitude / step - low
  const up = rest > 0.5 || (rest === 0.5 && low % 2 === 1)
  return Math.sign(v) * Math.min(448, (low + Number(up)) * step)
}

/** x wᵀ + bias of rounded factors. */
async function reference(x: Tensor, weight: Tensor, bias?: Tensor): Promise<number[]> {
  const round = async (t: Tensor) => {
    const all = await list(t)
    const factor = Math.fround(448 / Math.max(...all.map(Math.abs)))
    return all.map(v => rounded(Math.fround(v * factor)) / factor)
  }
  const [a, w, b] = [await round(x), await round(weight), bias ? await list(bias) : undefined]
  const [out, inner] = weight.shape as [number, number]
  return Array.from({ length: (x.size / inner) * out }, (_, at) => {
    const [row, column] = [Math.floor(at / out) * inner, (at % out) * inner]
    let sum = b?.[at % out] ?? 0
    for (let k = 0; k < inner; k++) sum += a[row + k]! * w[column + k]!
    return sum
  })
}

describe('linear layers of 8-bit factors', () => {
  test('round as PyTorch does', async () => {
    // x and x.to(torch.float8_e4m3fn), of bfloat16 numbers.
    const pairs = [
      [448, 448],
      [-448, -448],
      [448, 448],
      [440, 448],
      [432, 448],
      [432, 448],
      [432, 448],
      [1, 1],
      [1.0625, 1],
      [1.125, 1.125],
      [1.1875, 1.25],
      [-1.0625, -1],
      [0.0625, 0.0625],
      [0.015625, 0.015625],
      [0.015625, 0.015625],
      [0.01397705078125, 0.013671875],
      [0.00390625, 0.00390625],
      [0.001953125, 0.001953125],
      [0.00099945068359375, 0.001953125],
      [0.0009765625, 0],
      [0.0009765625, 0],
      [0.0029296875, 0.00390625],
      [-0.004913330078125, -0.005859375],
      [240, 240],
      [248, 256],
      [232, 224],
      [17, 16],
      [18, 18],
      [19, 20],
      [-17, -16],
      [300, 288],
      [304, 320],
      [3.296875, 3.25],
      [100, 96],
      [0.30078125, 0.3125],
      [0.10009765625, 0.1015625],
      [-0.02001953125, -0.01953125],
      [57, 56],
      [29, 28],
    ]
    const x = place(
      tensor(
        Float32Array.from(pairs, p => p[0]!),
        { shape: [pairs.length, 1] },
      ),
    )
    const y = await list(fp8(() => linear(x, place(tensor([[1]])))))
    expect(y).toEqual(pairs.map(p => p[1]))
  })

  test.each([
    [[3, 5], 7],
    [[2, 9, 48], 32],
    [[70, 33], 65],
    [[16], 4],
  ] as [number[], number][])('x %j, %i outputs', async (shape, out) => {
    const x = values(shape, 1, 3)
    const weight = values([out, shape.at(-1)!], 2, 2 ** -6)
    const bias = values([out], 3)
    for (const b of [bias, undefined]) {
      const y = fp8(() => linear(x, weight, b))
      expect(y.dtype).toBe('bfloat16')
      const expected = await reference(x, weight, b)
      const most = Math.max(...expected.map(Math.abs))
      const got = await list(y)
      expect(y.shape).toEqual([...shape.slice(0, -1), out])
      got.forEach((v, i) => {
        expect(Math.abs(v - expected[i]!)).toBeLessThan(2 ** -8 * Math.max(Math.abs(expected[i]!), most / 64))
      })
    }
  })

  test('other inputs than contiguous ones', async () => {
    const x = values([40, 24], 1)
    const weight = values([40, 6], 2)
    const got = await list(fp8(() => linear(x.transpose(0, 1), weight.transpose(0, 1))))
    const expected = await reference(x.transpose(0, 1).contiguous(), weight.transpose(0, 1).contiguous())
    const most = Math.max(...expected.map(Math.abs))
    got.forEach((v, i) => {
      expect(Math.abs(v - expected[i]!)).toBeLessThan(2 ** -8 * most)
    })
  })

  test('gradients are those of bfloat16', async () => {
    const gradients = async (run: typeof fp8) => {
      const x = values([5, 16], 1).requireGrad()
      const weight = values([8, 16], 2).requireGrad()
      const bias = values([8], 3).requireGrad()
      run(() => linear(x, weight, bias))
        .mul(values([5, 8], 4))
        .sum()
        .backward()
      return Promise.all([x, weight, bias].map(t => list(t.grad!)))
    }
    expect(await gradients(fp8)).toEqual(await gradients(autocast))
  })

  test('zeros, NaN and what is empty', async () => {
    const zero = place(tensor(new Float32Array(12), { shape: [3, 4] }))
    expect(await list(fp8(() => linear(zero, zero)))).toEqual(new Array(9).fill(0))
    const x = place(
      tensor([
        [1, Number.NaN],
        [1, 2],
      ]),
    )
    const y = await list(fp8(() => linear(x, place(tensor([[1, 1]])))))
    expect(Number.isNaN(y[0])).toBe(true)
    expect(y[1]).toBe(3)
    const none = place(tensor(new Float32Array(0), { shape: [0, 4] }))
    expect(fp8(() => linear(none, zero)).shape).toEqual([0, 3])
    const empty = place(tensor(new Float32Array(0), { shape: [3, 0] }))
    expect(await list(fp8(() => linear(empty, empty, place(tensor([1, 2, 3])))))).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3])
  })

  test('in a captured function, and not where autocast ends', async () => {
    const x = values([6, 16], 1)
    const weight = values([3, 16], 2)
    const low = fp8(() => linear(x, weight))
    const captured = compile((t: Tensor) => fp8(() => linear(t, weight)))
    for (let i = 0; i < 3; i++) expect(await list(captured(x))).toEqual(await list(low))
    const nested = fp8(() => autocast(() => linear(x, weight)))
    expect(await list(nested)).toEqual(await list(autocast(() => linear(x, weight))))
    expect(await list(nested)).not.toEqual(await list(low))
    expect(linear(x, weight).dtype).toBe('float32')
  })

  test('with float16 it is refused', () => {
    expect(() => autocast(() => 1, { fp8: true, dtype: 'float16' })).toThrow(
      'autocast: fp8 goes with bfloat16 for all other products; got float16',
    )
  })
})
