// Norms of channels in training take over the addition and the ReLU that follow, and their gradients the ReLU's.
import {
  autocast,
  batchNormTrain,
  compile,
  groupNorm,
  manualSeed,
  nn,
  Parameter,
  randomNormal,
  type Tensor,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { flat } from '../support/values'
import { distance } from './fused'

type Norm = (x: Tensor, weight?: Tensor, bias?: Tensor) => Tensor
const norms: [string, Norm][] = [
  ['batch', (x, weight, bias) => batchNormTrain(x, weight, bias)[0]],
  ['group', (x, weight, bias) => groupNorm(x, 2, weight, bias)],
]

/** What follows a norm, and the operations that are then left of it and its gradient. */
const followers: [string, (y: Tensor, other: Tensor) => Tensor, string[]][] = [
  ['relu', y => y.relu(), ['normalizeGroups relu', 'reluGrad normalizeGroupsGradient']],
  ['a residual and relu', (y, other) => other.add(y).relu(), ['normalizeGroups add relu']],
  ['a residual', (y, other) => y.add(other), ['normalizeGroups add']],
]

const joinedOf = (operations: readonly { attributes: string }[]) =>
  operations.map(({ attributes }) => attributes).filter(note => /\w+ ?normalizeGroups|normalizeGroups \w/.test(note))

describe.each(norms)('%s norm', (_, norm) => {
  for (const [what, after, expected] of followers)
    for (const affine of [true, false])
      test(`with ${what}${affine ? '' : ', without weight and bias'}`, async () => {
        manualSeed(3)
        const [weight, bias] = [8, 8].map(size => new Parameter(randomNormal([size])))
        const factors = [1, 2].map(() => new Parameter(randomNormal([5, 3, 8])))
        const cotangent = randomNormal([4, 5, 3, 8])
        const inputs = [randomNormal([4, 5, 3, 8]), randomNormal([4, 5, 3, 8])]
        const parameters = affine ? [...factors, weight!, bias!] : factors
        const step = (...given: Tensor[]) => {
          const [x, other] = given.map((t, i) => t.mul(factors[i]!)) as [Tensor, Tensor]
          const y = after(affine ? norm(x, weight, bias) : norm(x), other)
          y.mul(cotangent).sum().backward()
          const grads = parameters.filter(p => p.grad).map(p => p.grad!)
          for (const p of parameters) p.grad = undefined
          return [y, ...grads]
        }
        const wanted = await Promise.all(step(...inputs).map(flat))
        const run = compile(step)
        for (let i = 0; i < 2; i++) {
          const results = await Promise.all(run(...inputs).map(flat))
          expect(results).toHaveLength(wanted.length)
          for (const [k, values] of wanted.entries()) expect(distance(results[k]!, values)).toBeLessThan(1e-5)
        }
        const { operations } = await run.explain(...inputs)
        expect(joinedOf(operations)).toEqual(expected)
        expect(operations.some(({ name }) => name.startsWith('relu'))).toBe(
          expected.length === 1 && what !== 'a residual',
        )
      })
})

test('in 16 bits it rounds where the operations do', async () => {
  manualSeed(5)
  const [x, other] = [randomNormal([2, 4, 4, 8]).cast('bfloat16'), randomNormal([2, 4, 4, 8]).cast('bfloat16')]
  for (const after of [followers[0]!, followers[1]!]) {
    const fn = (a: Tensor, b: Tensor) => autocast(() => after[1](batchNormTrain(a)[0], b))
    const run = compile(fn)
    expect(await flat(run(x, other))).toEqual(await flat(fn(x, other)))
    expect(joinedOf((await run.explain(x, other)).operations)).toEqual(after[2].slice(0, 1))
  }
})

test('what else reads the normalised values keeps them', async () => {
  manualSeed(6)
  const x = randomNormal([3, 4, 4, 8])
  const run = compile((a: Tensor) => {
    const y = batchNormTrain(a)[0]
    return [y.relu(), y]
  })
  const [cut, whole] = await Promise.all(run(x).map(flat))
  expect(cut).toEqual(whole!.map(v => Math.max(v, 0)))
  expect(joinedOf((await run.explain(x)).operations)).toEqual([])
})

test('what is not a number stays that, and has no gradient', async () => {
  const x = new Parameter(randomNormal([2, 3, 3, 4]).mul(Number.NaN))
  const step = () => {
    const y = batchNormTrain(x)[0].relu()
    y.sum().backward()
    const grad = x.grad!
    x.grad = undefined
    return [y, grad]
  }
  const [wanted, found] = [await Promise.all(step().map(flat)), await Promise.all(compile(step)().map(flat))]
  expect(found).toEqual(wanted)
})

describe('running averages', () => {
  const layers: [string, number, () => nn.BatchNorm2d | nn.InstanceNorm2d][] = [
    ['of batches', 4, () => new nn.BatchNorm2d(8)],
    ['of all batches alike', 4, () => new nn.BatchNorm2d(8, { momentum: null })],
    ['of instances', 4, () => new nn.InstanceNorm2d(8, { trackRunningStats: true })],
    ['of one instance', 1, () => new nn.InstanceNorm2d(8, { trackRunningStats: true })],
  ]

  test.each(layers)('%s are a chain each', async (_, batch, make) => {
    manualSeed(8)
    const [captured, called] = [make(), make()]
    const run = compile((x: Tensor) => captured.forward(x))
    for (let i = 0; i < 3; i++) {
      const x = randomNormal([batch, 3, 5, 8]).mul(3).add(1)
      run(x)
      called.forward(x)
    }
    for (const name of ['runningMean', 'runningVar', 'numBatchesTracked'] as const)
      expect(await flat(captured[name]!)).toEqual(await flat(called[name]!))
    const { operations } = await run.explain(randomNormal([batch, 3, 5, 8]))
    const joined = operations.filter(({ name }) => name === 'fusedElementwise').map(({ attributes }) => attributes)
    expect(joined.filter(operations => operations.includes('sub'))).toEqual(['sub mul add', 'mul sub mul add'])
    const means = operations.filter(({ name }) => name === 'mean')
    expect(means).toHaveLength(captured instanceof nn.BatchNorm2d ? 0 : batch === 1 ? 1 : 3)
  })

  test('follow the mean of instances, and its unbiased variance', async () => {
    manualSeed(9)
    const norm = new nn.InstanceNorm2d(2, { trackRunningStats: true, momentum: 0.25 })
    const x = randomNormal([3, 4, 5, 2])
    norm.forward(x)
    const mean = await flat(x.mean({ axis: [1, 2] }).mean({ axis: 0 }))
    const variance = await flat(x.var({ axis: [1, 2] }).mean({ axis: 0 }))
    expect(
      distance(
        await flat(norm.runningMean!),
        mean.map(v => 0.25 * v),
      ),
    ).toBeLessThan(1e-6)
    expect(
      distance(
        await flat(norm.runningVar!),
        variance.map(v => 0.75 + 0.25 * v),
      ),
    ).toBeLessThan(1e-6)
  })
})
