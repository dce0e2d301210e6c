import {
  autocast,
  checkpoint,
  compile,
  dropout,
  grad,
  gradients,
  keep,
  manualSeed,
  memory,
  noGrad,
  ones,
  Parameter,
  randomNormal,
  resetPeakMemory,
  scope,
  type Tensor,
  tensor,
} from 'anneal'
import { describe, expect, test } from 'vitest'
import { flat } from '../support/values'

const leaf = (values: number[]) => tensor(values, { requiresGrad: true })

describe('checkpoint', () => {
  test('recomputes, with the same random numbers, and reaches parameters inside', async () => {
    const w = new Parameter(tensor([2, 3, 4]))
    const x = leaf([1, 2, 3])
    const f = (v: Tensor) => dropout(v.mul(w), { p: 0.5 }).square()
    const results: unknown[] = []
    for (const way of [f, (v: Tensor) => checkpoint(f, v)]) {
      manualSeed(5)
      const y = way(x)
      y.sum().backward()
      results.push([await y.toArray(), await x.grad!.toArray(), await w.grad!.toArray()])
      x.grad = undefined
      w.grad = undefined
    }
    expect(results[1]).toEqual(results[0])
    const plain = tensor([1, 2, 3])
    checkpoint(v => v.mul(w).sum(), plain).backward()
    expect(await w.grad!.toArray()).toEqual([1, 2, 3])
  })

  test('recomputes in the autocast of its forward pass, and leaves that of the pass alone', async () => {
    const [x, w] = [ones([4, 4]).requireGrad(), ones([4, 4]).requireGrad()]
    const y = autocast(() => checkpoint(v => v.matmul(w), x))
    expect(y.dtype).toBe('bfloat16')
    y.sum().backward()
    expect([x.grad!.dtype, await x.grad!.sum().item()]).toEqual(['float32', 64])

    const [before, third] = [ones([1, 1]).requireGrad(), tensor([[1 / 3]])]
    const product = before.matmul(third)
    autocast(() =>
      checkpoint(v => v.mul(1), product)
        .sum()
        .backward(),
    )
    expect(await before.grad!.item()).toBe(Math.fround(1 / 3))
  })

  test('of what requires no gradient has none', async () => {
    const frozen = new Parameter(tensor([2]))
    frozen.trainable = false
    const y = checkpoint(v => v.mul(frozen), tensor([3]))
    expect(y.requiresGrad).toBe(false)
    const head = leaf([5])
    y.mul(head).sum().backward()
    expect(await head.grad!.toArray()).toEqual([6])
    const idle = new Parameter(tensor([2]))
    const x = leaf([1])
    checkpoint(v => v.mul(noGrad(() => idle.mul(3))), x)
      .sum()
      .backward()
    expect([await x.grad!.toArray(), idle.grad]).toEqual([[6], undefined])
  })

  test('gives gradients() what it asks for, and leaves every grad alone', async () => {
    const [x, w] = [leaf([3]), leaf([5])]
    const y = checkpoint(v => v.mul(w), x)
    const [dx, dw, dy] = gradients([y.sum()], [x, w, y])
    expect([await dx!.item(), await dw!.item(), await dy!.item()]).toEqual([5, 3, 1])
    expect([x.grad, w.grad]).toEqual([undefined, undefined])
  })

  test('has gradients of every order', async () => {
    const x = leaf([3])
    const y = checkpoint(v => v.mul(v).mul(v), x)
      .add(x.mul(x))
      .sum()
    const [first] = gradients([y], [x], { createGraph: true })
    const [second] = gradients([first!.sum()], [x])
    expect([await first!.item(), await second!.item()]).toEqual([33, 20])
    const nested = grad((a: Tensor) => grad((b: Tensor) => checkpoint(c => c.mul(c).mul(c), b).sum())(a)[0]!.sum())
    expect(await nested(tensor([3]))[0]!.item()).toBe(18)
    const inside = checkpoint(a => grad((b: Tensor) => b.mul(b).mul(b).sum())(a)[0]!, x)
    inside.sum().backward()
    expect(await x.grad!.item()).toBe(18)
  })

  test('inside of another, and gone through twice', async () => {
    const [x, w] = [leaf([3]), leaf([5])]
    const y = checkpoint(v => checkpoint(u => u.mul(w).mul(u), v).mul(v), x).sum()
    y.backward(undefined, { retainGraph: true })
    y.backward()
    expect([await x.grad!.item(), await w.grad!.item()]).toEqual([270, 54])
    expect(() => y.backward()).toThrow(/retainGraph/)
  })

  test('reaches what lies between leaves and what is read inside', async () => {
    const w = leaf([5])
    const [middle, x] = [w.mul(2), leaf([3])]
    checkpoint(v => v.mul(middle), x.mul(1))
      .sum()
      .backward()
    checkpoint(() => w)
      .sum()
      .backward()
    expect([await x.grad!.item(), await w.grad!.item()]).toEqual([10, 7])
  })

  test('holds one part at a time', () => {
    const size = 65536
    const w = new Parameter(ones([size]))
    const part = (x: Tensor) => {
      let y = x
      for (let i = 0; i < 16; i++) y = y.mul(w).tanh()
      return y
    }
    const x = ones([size])
    const before = memory().used
    resetPeakMemory()
    scope(() => {
      let y = x
      for (let i = 0; i < 8; i++) y = checkpoint(part, y)
      expect((memory().used - before) / (4 * size)).toBeLessThan(10)
      y.sum().backward()
    })
    expect((memory().peak - before) / (4 * size)).toBeLessThan(50)
  })

  test('outlives the scope that its inputs were made in; what it keeps outlives it', async () => {
    const w = leaf([2])
    let seen: Tensor | undefined
    const loss = scope(() =>
      checkpoint(
        v => {
          seen = keep(v.mul(10))
          return v.mul(w).sum()
        },
        tensor([3]).mul(2),
      ),
    )
    expect(await seen!.item()).toBe(60)
    loss.backward()
    expect(await w.grad!.item()).toBe(6)
  })

  test('that fails when it is run again leaves random numbers as they were', async () => {
    const run = () => {
      let runs = 0
      const y = checkpoint(
        v => {
          if (++runs === 2) throw new Error('mine')
          return v.dropout({ p: 0.5 })
        },
        leaf([1, 2]),
      )
      expect(() => y.sum().backward()).toThrow('mine')
      return randomNormal([4])
    }
    manualSeed(3)
    const found = await flat(run())
    manualSeed(3)
    dropout(ones([2]), { p: 0.5 })
    expect(found).toEqual(await flat(randomNormal([4])))

    const twice = compile((x: Tensor) => {
      let runs = 0
      const y = checkpoint(v => {
        if (++runs === 2) throw new Error('mine')
        return v.mul(2)
      }, x.detach().requireGrad())
      expect(() => y.sum().backward()).toThrow('mine')
      return [x.exp(), x.exp()]
    })
    await twice(tensor([1]))
    const { operations } = await twice.explain(tensor([1]))
    expect(operations).toHaveLength(1)
  })

  test('refuses functions that give no tensor, or not the same twice', () => {
    const x = leaf([1, 2])
    const wrong = (result: unknown) => () => checkpoint(() => result as Tensor, x)
    const code = { code: 'ERR_VALUE' }
    expect(wrong([x])).toThrow(expect.objectContaining(code))
    expect(wrong([x])).toThrow(/checkpoint: the result of the function: expected a Tensor; got an array/)
    expect(wrong(Promise.resolve(x))).toThrow(/got a promise.*must not be async/)
    expect(() => checkpoint(v => v, [1] as unknown as Tensor)).toThrow(/checkpoint: input 0: expected a Tensor/)
    let runs = 0
    const y = checkpoint(v => (++runs === 1 ? v.mul(2) : v.sum()), x)
    expect(() => y.sum().backward()).toThrow(/gave float32\[2\] at first, and when it was run again float32\[\]/)
  })
})
