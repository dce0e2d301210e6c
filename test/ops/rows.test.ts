import {
  batchNorm,
  batchNormTrain,
  type DType,
  gradients,
  groupNorm,
  instanceNorm,
  layerNorm,
  logSoftmax,
  rmsNorm,
  softmax,
  type Tensor,
  tensor,
} from 'anneal'
import { describe, test } from 'vitest'
import { expectNear, type Tolerance } from '../support/compare'
import { place } from '../support/device'

type Fn = (...inputs: Tensor[]) => Tensor

/** Numbers around `middle` that look random and are the same in every run. */
function numbers(shape: readonly number[], seed: number, middle = 0): Float32Array {
  const n = shape.reduce((a, b) => a * b, 1)
  return Float32Array.from({ length: n }, (_, i) => middle + 3 * Math.sin((i + 1) * 12.9898 + seed * 78.233) ** 3)
}

const tolerances: Record<string, Tolerance> = {
  float32: { rtol: 2e-5, atol: 2e-5 },
  float64: { rtol: 1e-10, atol: 1e-11 },
  float16: { rtol: 4e-3, atol: 4e-3 },
  bfloat16: { rtol: 3e-2, atol: 3e-2 },
}

/** Result and gradients of `f` on the tests' device, in `dtype`, against float64 on the CPU. */
async function compare(what: string, f: Fn, shapes: number[][], dtype: DType): Promise<void> {
  const given = shapes.map((shape, i) => tensor(numbers(shape, i, i ? 1 : 0), { shape, device: 'cpu' }).cast(dtype))
  const run = async (inputs: Tensor[]) => {
    const leaves = inputs.map(t => t.detach().requireGrad())
    const out = f(...leaves)
    const seed = tensor(numbers(out.shape, 9), { shape: out.shape, device: 'cpu' }).cast(dtype).cast(out.dtype)
    const grads = gradients([out], leaves, { gradOutputs: [seed.to(out.device)] })
    return Promise.all([out, ...grads].map(t => t!.data()))
  }
  const got = await run(given.map(place))
  const expected = await run(given.map(t => t.cast('float64')))
  const { rtol, atol } = tolerances[dtype]!
  for (const [i, values] of got.entries()) {
    const wanted = expected[i]!
    // What is summed over many rows is compared with what it is the sum of.
    const size = (wanted as Float64Array).reduce((most, v) => Math.max(most, Math.abs(v)), 4)
    expectNear(`${what}, ${dtype} ${shapes[0]}, ${i ? `gradient ${i - 1}` : 'result'}`, values, wanted, {
      rtol,
      atol: i ? atol * size : atol,
    })
  }
}

const dtypes: DType[] = ['float32', 'float64', 'float16', 'bfloat16']
const sizes = [1, 8, 33, 256, 520, 1000, 2056, 6144, 17001]

describe.each(dtypes)('rows of any length, %s', dtype => {
  test.each(sizes)('softmax over %i', async n => {
    await compare('softmax', x => softmax(x), [[5, n]], dtype)
    await compare('logSoftmax', x => logSoftmax(x), [[5, n]], dtype)
  })
  test.each(sizes.filter(n => n > 8))('normalised over %i', async n => {
    await compare('layerNorm', (x, w, b) => layerNorm(x, w, b), [[19, n], [n], [n]], dtype)
    await compare('layerNorm without parameters', x => layerNorm(x), [[3, n]], dtype)
    await compare('rmsNorm', (x, w) => rmsNorm(x, w), [[19, n], [n]], dtype)
  })
  test('softmax over an axis before the last', async () => {
    await compare('softmax', x => softmax(x, { axis: 1 }), [[3, 37, 45]], dtype)
    await compare('logSoftmax', x => logSoftmax(x, { axis: 0 }), [[70, 8]], dtype)
  })
})

describe.each(dtypes)('channels, %s', dtype => {
  test.each([3, 16, 72, 264])('%i of them over the batch', async channels => {
    const shapes = [[3, 19, 5, channels], [channels], [channels]]
    await compare('batchNormTrain', (x, w, b) => batchNormTrain(x, w, b)[0], shapes, dtype)
    const fixed = (x: Tensor, w: Tensor, b: Tensor) => batchNorm(x, b.detach(), w.detach().mul(w.detach()), w, b)
    await compare('batchNorm', fixed, shapes, dtype)
  })
  test.each([
    [6, 3],
    [32, 4],
    [264, 33],
  ])('%i of them in %i groups', async (channels, groups) => {
    const shapes = [[3, 19, 5, channels], [channels], [channels]]
    await compare('groupNorm', (x, w, b) => groupNorm(x, groups, w, b), shapes, dtype)
    await compare('instanceNorm', (x, w, b) => instanceNorm(x, w, b), shapes, dtype)
  })
  test('a batch of many pixels', async () => {
    await compare('batchNormTrain', (x, w, b) => batchNormTrain(x, w, b)[0], [[2, 61, 53, 8], [8], [8]], dtype)
  })
})

test('values far from 0 keep their variance', async () => {
  const far = tensor(numbers([4000, 8], 1, 1000), { shape: [4000, 8] })
  const [y] = batchNormTrain(far)
  const [expected] = batchNormTrain(
    tensor(await far.data(), { device: 'cpu' })
      .reshape([4000, 8])
      .cast('float64'),
  )
  expectNear('batchNormTrain', await y.data(), await expected.data(), { rtol: 1e-4, atol: 3e-4 })
})
