import { AnnealError, type DType, gradients, gru, lstm, noGrad, rnn, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { recurrentLayer } from '../../src/internal.generated'
import { withMode } from '../../src/mode'

type Kind = 'tanh' | 'relu' | 'lstm' | 'gru'
const gatesOf = { tanh: 1, relu: 1, lstm: 4, gru: 3 }

let state = 1
/** Numbers between -1 and 1 from a linear congruential generator. */
function noise(shape: number[], dtype: DType = 'float64', scale = 1): Tensor {
  const size = shape.reduce((a, b) => a * b, 1)
  const values = Float64Array.from({ length: size }, () => {
    state = (state * 1103515245 + 12345) % 2147483648
    return (state / 1073741824 - 1) * scale
  })
  return tensor(values, { shape, dtype })
}

interface Layer {
  x: Tensor
  weights: Tensor[]
  states: Tensor[]
}

function layer(kind: Kind, [N, T, C, H]: [number, number, number, number], dtype: DType = 'float64'): Layer {
  const rows = gatesOf[kind] * H
  const scale = 1 / Math.sqrt(H)
  const weights = [[rows, C], [rows, H], [rows], [rows]].map(shape => noise(shape, dtype, scale))
  return { x: noise([N, T, C], dtype), weights, states: [noise([N, H], dtype), noise([N, H], dtype)] }
}

/** Outputs and gradients of everything, for a fixed weighting of all outputs. */
function everything(kind: Kind, given: Layer, reverse: boolean, lengths: Tensor | null): Tensor[] {
  const inputs = [given.x, ...given.weights, ...given.states].map(t => t.detach().requireGrad())
  const [x, wi, wh, bi, bh, h0, c0] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
  const lstmOnly = kind === 'lstm'
  const all = recurrentLayer(x, wi, wh, kind, bi, bh, h0, lstmOnly ? c0 : null, lengths, { reverse })
  const outputs = all.slice(0, lstmOnly ? 3 : 2)
  const leaves = lstmOnly ? inputs : inputs.slice(0, 6)
  const before = state
  state = 77
  const gradOutputs = outputs.map(t => noise([...t.shape], t.dtype))
  state = before
  return [...outputs, ...(gradients(outputs, leaves, { gradOutputs }) as Tensor[])]
}

async function expectClose(actual: Tensor[], expected: Tensor[], tolerance: number) {
  expect(actual.length).toBe(expected.length)
  for (const [i, e] of expected.entries()) {
    expect(actual[i]!.shape).toEqual(e.shape)
    const [a, b] = await Promise.all([actual[i]!.data(), e.data()])
    let worst = 0
    for (let k = 0; k < b.length; k++) worst = Math.max(worst, Math.abs(Number(a[k]) - Number(b[k])))
    expect(worst, `tensor ${i}`).toBeLessThan(tolerance)
  }
}

describe.each(['tanh', 'relu', 'lstm', 'gru'] as const)('the kernel of %s agrees with its composition', kind => {
  const cases: [string, [number, number, number, number], DType, boolean, number[] | null, number][] = [
    ['one unit', [1, 1, 1, 1], 'float64', false, null, 1e-12],
    ['rows and units beside the panels', [7, 5, 4, 19], 'float64', false, null, 1e-11],
    ['backwards, with lengths', [5, 6, 3, 17], 'float64', true, [6, 0, 2, 1, 6], 1e-11],
    ['units shared out', [9, 3, 8, 270], 'float32', false, null, 1e-3],
    ['rows shared out', [130, 3, 8, 33], 'float32', true, Array.from({ length: 130 }, (_, i) => i % 4), 1e-3],
  ]
  test.each(cases)('%s', async (_, shape, dtype, reverse, lengths, tolerance) => {
    const given = layer(kind, shape, dtype)
    const steps = lengths && tensor(BigInt64Array.from(lengths, BigInt))
    const expected = withMode({ lower: true }, () => everything(kind, given, reverse, steps))
    await expectClose(everything(kind, given, reverse, steps), expected, tolerance)
  })
})

test('an empty batch, and no steps at all', async () => {
  const { weights, states } = layer('lstm', [2, 3, 4, 5])
  const [wi, wh] = weights as [Tensor, Tensor]
  const [y, h, c] = lstm(tensor(new Float64Array(0), { shape: [0, 3, 4] }), wi, wh)
  expect([y.shape, h.shape, c.shape]).toEqual([
    [0, 3, 5],
    [0, 5],
    [0, 5],
  ])
  const [none, h0] = lstm(tensor(new Float64Array(0), { shape: [2, 0, 4] }), wi, wh, null, null, ...states)
  expect(none.shape).toEqual([2, 0, 5])
  expect(await h0.data()).toEqual(await states[0]!.data())
})

test('NaN stays in its row', async () => {
  const { x, weights } = layer('gru', [3, 2, 4, 5])
  const [wi, wh] = weights as [Tensor, Tensor]
  const values = (await x.data()) as Float64Array
  values[9] = NaN
  const [y] = noGrad(() => gru(tensor(values, { shape: [3, 2, 4] }), wi, wh))
  const found = Array.from(await y.data(), Number).map(Number.isNaN)
  expect(found).toEqual(Array.from({ length: 30 }, (_, i) => i >= 10 && i < 20))
})

describe('errors', () => {
  const { x, weights, states } = layer('lstm', [2, 3, 4, 5])
  const [wi, wh, bi] = weights as [Tensor, Tensor, Tensor]
  const flat = noise([3, 4])
  test.each([
    [() => lstm(flat, wi, wh), 'ERR_SHAPE', 'lstm: x must be [N, T, C]; got [3,4]'],
    [() => gru(x, wi, wh), 'ERR_SHAPE', 'gru: weightHh must be [3 * H, H]; got [20,5]'],
    [() => lstm(x, wh, wh), 'ERR_SHAPE', 'lstm: weightIh must be [gates * H, C] = [20,4]; got [20,5]'],
    [() => lstm(x, wi, wh, noise([5])), 'ERR_SHAPE', 'lstm: biasIh must be [gates * H] = [20]; got [5]'],
    [() => lstm(x, wi, wh, bi, null, noise([5])), 'ERR_SHAPE', 'lstm: hidden must be [N, H] = [2,5]; got [5]'],
    [() => lstm(x, wi, wh, bi, null, null, noise([1, 5])), 'ERR_SHAPE', 'lstm: cell must be [N, H] = [2,5]; got [1,5]'],
    [() => lstm(x.cast('float32'), wi, wh), 'ERR_DTYPE', 'one floating-point dtype; got float32 and float64'],
    [() => rnn(x.cast('int32'), noise([5, 4]), noise([5, 5])), 'ERR_DTYPE', 'one floating-point dtype; got int32'],
    [() => lstm(x, wi, wh, bi, null, ...states, tensor([1, 2])), 'ERR_DTYPE', 'lengths must be int64; got float32'],
  ])('%#', (call, code, message) => {
    expect(call as () => unknown).toThrow(AnnealError)
    expect(call as () => unknown).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }))
  })

  test('a length beyond the steps', async () => {
    const [y] = lstm(x, wi, wh, null, null, null, null, tensor([3n, 4n]))
    await expect(y.data()).rejects.toThrow(
      /(row 1 is said to have 4 steps|index 4 at position 1 is out of range).*; expected 0 to 3/,
    )
  })
})
