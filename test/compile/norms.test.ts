// Norms and their gradients are computed with what comes before and after them, and give what they give by themselves.
import { compile, manualSeed, nn, noGrad, optim, randomNormal, type Tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { expectJoined } from '../support/joined'
import { fused, withGradients } from './fused'

describe('a norm computes its input', () => {
  const norms: [string, (size: number) => nn.Module & { forward(x: Tensor): Tensor }][] = [
    ['layerNorm', size => new nn.LayerNorm(size)],
    ['rmsNorm', size => new nn.RMSNorm(size)],
  ]
  for (const [name, make] of norms) {
    test.each([[3], [2, 50], [700], [0]])(`${name} with %s rows`, async (...shape) => {
      manualSeed(9)
      const norm = make(72)
      const [x, y] = [randomNormal([...shape, 72]), randomNormal([...shape, 72])]
      const found = await noGrad(() => fused((a, b) => [norm.forward(a.add(b))], [x, y]))
      expectJoined(found, shape[0] === 0 ? [] : [`add ${name}`])
    })

    test(`${name}, where the sum is needed later, and gradients`, async () => {
      manualSeed(10)
      const [norm, layer] = [make(72), new nn.Linear(72, 72)]
      const fn = (a: Tensor) => {
        const sum = layer.forward(a).add(a)
        return layer.forward(norm.forward(sum)).add(sum)
      }
      const x = randomNormal([30, 72])
      expectJoined(await noGrad(() => fused(a => [fn(a)], [x])), [`add ${name}`, 'linear add'], [])
      const parameters = [...norm.parameters(), ...layer.parameters()]
      const found = await fused(withGradients(fn, parameters), [x], { tolerance: 1e-5 })
      const norms = found.filter(operations => operations === `add ${name}` || operations.startsWith('normalizeRows'))
      expectJoined(norms, [`add ${name}`, 'normalizeRowsGradient add'], ['normalizeRowsGradient add'])
    })
  }

  test('of several axes, of float64 and of what broadcasts', async () => {
    manualSeed(11)
    const norm = new nn.LayerNorm([6, 12]).to('float64') as nn.LayerNorm
    const x = randomNormal([5, 6, 12]).cast('float64')
    const found = await noGrad(() =>
      fused((a, b) => [norm.forward(a.mul(b).add(1))], [x, randomNormal([6, 1]).cast('float64')], { tolerance: 1e-13 }),
    )
    expectJoined(found, ['mul add layerNorm'])
  })

  test('without weight, and not with a weight that comes later', async () => {
    manualSeed(12)
    const x = randomNormal([5, 12])
    expectJoined(await fused(a => [a.mul(2).layerNorm()], [x]), ['mul layerNorm'])
    const found = await fused(
      a => {
        const scaled = a.mul(2)
        return [scaled.layerNorm(a.sum({ axis: 0 }))]
      },
      [x],
    )
    expectJoined(found, [])
  })
})

test('a transformer layer trains as it does by itself', async () => {
  const make = () => {
    manualSeed(13)
    const encoder = new nn.TransformerEncoderLayer(32, 4, { feedForward: 64, activation: 'gelu', dropout: 0 })
    return { encoder, optimizer: new optim.AdamW(encoder.parameters(), { lr: 1e-3 }) }
  }
  const stepOf =
    ({ encoder, optimizer }: ReturnType<typeof make>) =>
    (x: Tensor) => {
      const loss = encoder.forward(x).sub(x).square().mean()
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss
    }
  const [plain, captured] = [stepOf(make()), compile(stepOf(make()))]
  manualSeed(14)
  const x = randomNormal([4, 10, 32])
  for (let i = 0; i < 5; i++) expect(Math.abs((await captured(x).item()) - (await plain(x).item()))).toBeLessThan(1e-5)
})
