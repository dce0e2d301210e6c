import {
  checkpoint,
  customGrad,
  enableGrad,
  grad,
  gradEnabled,
  gradients,
  noGrad,
  Parameter,
  type Tensor,
  tensor,
  valueAndGrad,
} from 'anneal'
import { describe, expect, test } from 'vitest'

const leaf = (values: number[]) => tensor(values, { requiresGrad: true })

describe('backward', () => {
  test('collects in leaves, adding up', async () => {
    const x = leaf([1, 2])
    x.mul(x).sum().backward()
    expect(await x.grad!.toArray()).toEqual([2, 4])
    x.sum().backward()
    expect(await x.grad!.toArray()).toEqual([3, 5])
    x.grad = undefined
    expect(x.grad).toBeUndefined()
  })

  test('takes the gradient of a result that is not a scalar', async () => {
    const x = leaf([1, 2])
    expect(() => x.mul(2).backward()).toThrow(/implied only for one element.*\[2\]/)
    x.mul(2).backward(tensor([1, 10]))
    expect(await x.grad!.toArray()).toEqual([2, 20])
    expect(() => x.mul(2).backward(tensor([1]))).toThrow(/gradient has the shape \[1\], the tensor \[2\]/)
  })

  test('takes it in the dtype of the result', async () => {
    const x = leaf([1, 2])
    const y = x.mul(2)
    const given = tensor([1, 10], { dtype: 'float64' })
    x.backward(given)
    const [g] = gradients([y], [y], { gradOutputs: [given] })
    for (const found of [x.grad!, g!]) expect([found.dtype, await found.toArray()]).toEqual(['float32', [1, 10]])
  })

  test('goes through a record once, unless it is retained', async () => {
    const x = leaf([3])
    const y = x.mul(x).sum()
    y.backward(undefined, { retainGraph: true })
    y.backward()
    expect(await x.grad!.toArray()).toEqual([12])
    expect(() => y.backward()).toThrow(/retainGraph/)
  })

  test('a value used many times, and a long chain', async () => {
    const x = leaf([1])
    let y = x.mul(1)
    for (let i = 0; i < 20_000; i++) y = y.add(x)
    y.sum().backward()
    expect(await x.grad!.toArray()).toEqual([20_001])
  })

  test('says when there is nothing to differentiate', () => {
    expect(() => tensor(1).backward()).toThrow(/does not depend on anything that requires a gradient/)
    const x = leaf([1])
    expect(() =>
      noGrad(() => x.mul(2))
        .sum()
        .backward(),
    ).toThrow(/does not depend/)
    expect(() => x.detach().sum().backward()).toThrow(/does not depend/)
    expect(() => tensor([1], { dtype: 'int32' }).requireGrad()).toThrow(/only floating-point/)
  })

  test('integers and comparisons end the record without an error', async () => {
    const x = leaf([1, -2])
    x.mul(x.greater(0).cast('float32')).sum().backward()
    expect(await x.grad!.toArray()).toEqual([1, 0])
  })

  test('a frozen parameter collects nothing', () => {
    const [a, b] = [new Parameter(tensor([1])), new Parameter(tensor([2]))]
    b.trainable = false
    a.mul(b).sum().backward()
    expect(a.grad).toBeDefined()
    expect(b.grad).toBeUndefined()
  })

  test('a parameter that becomes integers collects nothing', async () => {
    const a = new Parameter(tensor([1.5]))
    a.convert('int32')
    expect([a.trainable, a.requiresGrad, await a.toArray()]).toEqual([false, false, [1]])
    const b = new Parameter(tensor([1.5]))
    b.convert('float64')
    expect(b.trainable).toBe(true)
  })
})

describe('functions of functions', () => {
  test('grad and valueAndGrad', async () => {
    const f = (x: ReturnType<typeof leaf>, y: ReturnType<typeof leaf>) => x.mul(y).sum()
    const [value, [dx, dy]] = valueAndGrad(f)(tensor([1, 2]), tensor([3, 4]))
    expect([await value.item(), await dx!.toArray(), await dy!.toArray()]).toEqual([11, [3, 4], [1, 2]])
    const [only] = grad(f, { argnums: [1] })(tensor([1, 2]), tensor([3, 4]))
    expect(await only!.toArray()).toEqual([1, 2])
  })

  test('third derivatives', async () => {
    const third = grad((x: Tensor) =>
      grad((y: Tensor) => grad((z: Tensor) => z.mul(z).mul(z).mul(z).sum())(y)[0]!.sum())(x)[0]!.sum(),
    )
    expect(await third(tensor([1, 2]))[0]!.toArray()).toEqual([24, 48])
  })

  test('grad can be differentiated by what the function reads besides its arguments', async () => {
    const w = leaf([5])
    const f = (x: Tensor) => x.mul(x).mul(w).sum()
    const [value, [g]] = valueAndGrad(f)(tensor([3]))
    w.mul(2).add(g!.square()).sum().add(value).backward()
    expect(await w.grad!.item()).toBe(371)
    const mixed = grad((y: Tensor) => grad((x: Tensor) => x.mul(x).mul(y).sum())(tensor([3]))[0]!.sum())
    expect(await mixed(tensor([5]))[0]!.item()).toBe(6)
    const own = ([g]: (Tensor | undefined)[]) => [g!.mul(w)]
    const [d] = grad((x: Tensor) => customGrad([x], t => [t!.mul(1)], own)[0]!.sum())(tensor([3]))
    expect(d!.requiresGrad).toBe(true)
  })

  test('grad records nothing that cannot matter, nor inside noGrad', async () => {
    const w = leaf([5])
    const [value, grads] = valueAndGrad((x: Tensor) => x.mul(x).sum())(tensor([3]))
    const [other, others] = noGrad(() => valueAndGrad((x: Tensor) => x.mul(w).sum())(w))
    for (const t of [value, ...grads, other, ...others]) expect(t.requiresGrad).toBe(false)
    const [inside] = grad((x: Tensor) => checkpoint(v => v.mul(v), x).sum())(tensor([3]))
    expect([inside!.requiresGrad, await inside!.item()]).toEqual([false, 6])
  })

  test('grad leaves what was recorded before to later passes', async () => {
    const [w, used] = [leaf([5]), leaf([2]).mul(3)]
    const h = w.mul(2)
    noGrad(() => grad((x: Tensor) => x.mul(h).sum())(tensor([3])))
    h.sum().backward()
    expect(await w.grad!.item()).toBe(2)
    used.sum().backward()
    expect(await grad((x: Tensor) => x.mul(used).sum())(tensor([3]))[0]!.item()).toBe(6)
  })

  test('each argument has a gradient of its own, though one tensor be given twice', async () => {
    const product = grad((a: Tensor, b: Tensor) => a.mul(b).sum())
    const twice = grad((x: Tensor) => product(x, x)[0]!.sum())
    expect(await twice(tensor([3]))[0]!.item()).toBe(1)
    const x = leaf([3])
    const [da, db] = product(x, x)
    expect([await da!.item(), await db!.item()]).toEqual([3, 3])
    da!.sum().backward()
    expect(await x.grad!.item()).toBe(1)
  })

  test('the gradient by what the result does not depend on is 0', async () => {
    const [, unused] = grad((a: Tensor, _: Tensor) => a.sum())(tensor([1]), tensor([Infinity, NaN]))
    expect(await unused!.toArray()).toEqual([0, 0])
  })

  test('gradients leave grads alone and give undefined where nothing depends', async () => {
    const [x, y] = [leaf([1]), leaf([2])]
    const [dx, dy] = gradients([x.mul(3)], [x, y])
    expect(await dx!.toArray()).toEqual([3])
    expect(dy).toBeUndefined()
    expect(x.grad).toBeUndefined()
    expect(() => gradients([x.mul(3)], [tensor(1)])).toThrow(/does not require a gradient/)
  })

  test('gradients with respect to what lies in between', async () => {
    const x = leaf([2])
    const middle = x.mul(x)
    const [d] = gradients([middle.mul(middle)], [middle])
    expect(await d!.toArray()).toEqual([8])
  })
})

describe('modes', () => {
  test('noGrad follows await, and does not reach others', async () => {
    const inside = noGrad(async () => {
      await new Promise(resolve => setTimeout(resolve, 5))
      expect(enableGrad(() => gradEnabled())).toBe(true)
      return gradEnabled()
    })
    expect(gradEnabled()).toBe(true)
    expect(await inside).toBe(false)
  })
})

describe('gradients of one’s own', () => {
  test('customGrad replaces the gradient', async () => {
    const x = leaf([1, 2])
    const [y] = customGrad(
      [x],
      a => [a!.mul(2)],
      ([g]) => [g!.mul(100)],
    )
    y!.sum().backward()
    expect(await x.grad!.toArray()).toEqual([100, 100])
  })

  test('an error inside of it comes out of backward', () => {
    const x = leaf([1])
    const [y] = customGrad(
      [x],
      a => [a!.mul(2)],
      () => {
        throw new TypeError('mine')
      },
    )
    expect(() => y!.sum().backward()).toThrow(TypeError)
  })
  test('has the shapes and dtypes of the inputs', async () => {
    const pass = (...found: (Tensor | undefined)[]) => {
      const [x, y] = [leaf([1, 2]), leaf([3])]
      const [z] = customGrad(
        [x, y],
        a => [a!.mul(2)],
        () => found,
      )
      z!.sum().backward()
      return [x.grad, y.grad]
    }
    expect(() => pass(tensor([1, 2]))).toThrow(/gave 1 results for 2 inputs; expected one for each/)
    expect(() => pass(tensor([1, 2]), undefined, undefined)).toThrow(/gave 3 results for 2 inputs/)
    expect(() => pass(tensor([1]), undefined)).toThrow(/gradient of input 0 has the shape \[1\], the input \[2\]/)
    const [dx, dy] = pass(tensor([1, 2], { dtype: 'float64' }), undefined)
    expect([dx!.dtype, await dx!.toArray(), dy]).toEqual(['float32', [1, 2], undefined])
  })
})

describe('what is no tensor is refused by name', () => {
  const x = leaf([1])
  const wrong = <T>(value: unknown) => value as T
  const y = () => x.mul(2).sum()
  const own = (outputs: unknown, grads: unknown) => () =>
    customGrad(
      [x],
      () => wrong<Tensor[]>(outputs),
      () => wrong<Tensor[]>(grads),
    )[0]!.backward()

  test.each<[RegExp, () => unknown]>([
    [/^backward: gradient: .*got an object.*backward\(undefined, /, () => y().backward(wrong({ retainGraph: true }))],
    [/^grad: expected a Tensor; got a number/, () => Object.assign(leaf([1]), { grad: 1 })],
    [/^grad: the result of the function: .*got a promise.*async/, () => grad(wrong<typeof y>(async () => y()))()],
    [/^grad: argnums: expected a list; got a number/, () => grad(y, wrong({ argnums: 0 }))()],
    [
      /^grad: argument 1: expected a Tensor; got a number.*argnums/,
      () => grad((a: Tensor, _: number) => a, { argnums: [1] })(x, 2),
    ],
    [/^Parameter: expected a Tensor; got an array. Use tensor\(\)/, () => new Parameter(wrong([1, 2]))],
    [/^assign: expected a Tensor; got a number/, () => new Parameter(tensor([1])).assign(wrong(2))],
    [/^gradients: outputs: expected a list; got a Tensor/, () => gradients(wrong(y()), [x])],
    [/^gradients: inputs\[0\]: expected a Tensor; got a number/, () => gradients([y()], wrong([3]))],
    [/^gradients: gradOutputs\[0\]: .*got a string/, () => gradients([y()], [x], { gradOutputs: wrong(['1']) })],
    [/^customGrad: inputs: expected a list; got a Tensor/, () => customGrad(wrong(x), wrong(y), wrong(y))],
    [/^customGrad: the results of forward: expected a list; got a Tensor/, own(x, [x])],
    [/^customGrad: the results of backward: expected a list; got a Tensor/, own([tensor(1)], x)],
    [/^customGrad: the results of backward\[0\]: expected a Tensor; got a number/, own([tensor(1)], [2])],
  ])('%s', (message, misuse) => {
    expect(misuse).toThrow(expect.objectContaining({ code: 'ERR_VALUE', message: expect.stringMatching(message) }))
  })
})
