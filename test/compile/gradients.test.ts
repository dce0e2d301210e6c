import { checkpoint, compile, customGrad, grad, gradients, manualSeed, Parameter, type Tensor, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { flat } from '../support/values'

describe('gradients', () => {
  test('that a captured function collects are there afterwards, and add up', async () => {
    const weight = new Parameter(tensor([1, 2]))
    const run = compile((x: Tensor) => x.mul(weight).sum().backward())
    run(tensor([3, 4]))
    expect(await flat(weight.grad!)).toEqual([3, 4])
    run(tensor([10, 20]))
    run(tensor([100, 200]))
    expect(await flat(weight.grad!)).toEqual([113, 224])
    expect(run.graphs).toBe(2) // without and with a gradient from before
    weight.grad = undefined
    run(tensor([1, 1]))
    expect(await flat(weight.grad!)).toEqual([1, 1])
  })

  test('of higher order, of checkpoints and of the caller’s own', async () => {
    const weight = new Parameter(tensor([0.3, -0.7]))
    const inside = (x: Tensor) => {
      const cubed = checkpoint(t => t.mul(weight).dropout({ p: 0.5 }).tanh(), x)
      const [doubled] = customGrad(
        [cubed],
        t => [t!.mul(2)],
        grads => [grads[0]!.mul(2)],
      )
      const second = grad((t: Tensor) => grad((u: Tensor) => u.pow(3).sum())(t)[0]!.sum())(x)[0]!
      const loss = doubled!.mul(second).sum()
      loss.backward()
      const found = weight.grad!
      weight.grad = undefined
      return [loss, found]
    }
    const x = tensor([1.5, 2.5])
    const run = compile(inside)
    for (let i = 0; i < 3; i++) {
      manualSeed(i)
      const expected = await Promise.all(inside(x).map(flat))
      manualSeed(i)
      expect(await Promise.all(run(x).map(flat))).toEqual(expected)
    }
  })

  test('of checkpoints, of higher order and of what they read', async () => {
    const weight = new Parameter(tensor([0.3, -0.7]))
    const part = (t: Tensor) => checkpoint(u => u.mul(weight).dropout({ p: 0.25 }).tanh(), t).mul(t)
    const inside = (x: Tensor) => {
      const [first] = grad((t: Tensor) => checkpoint(part, t).sum())(x)
      const [second] = gradients([first!.square().sum()], [weight])
      return [first!, second!]
    }
    const x = tensor([1.5, 2.5])
    const run = compile(inside)
    for (let i = 0; i < 3; i++) {
      manualSeed(i)
      const expected = await Promise.all(inside(x).map(flat))
      manualSeed(i)
      expect(await Promise.all(run(x).map(flat))).toEqual(expected)
    }
  })

  test('do not flow into or out of a captured function in silence', () => {
    const run = compile((x: Tensor) => x.mul(2).sum())
    const x = tensor([1, 2], { requiresGrad: true })
    expect(() => run(x)).toThrow(/argument tensor 0 requires a gradient/)
    expect(() => run(x.detach()).backward()).toThrow(/compiled function/)
  })
})
