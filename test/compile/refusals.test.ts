import { compile, manualSeed, noGrad, Parameter, type Tensor, tensor, unique } from 'anneal'
import { describe, expect, test } from 'vitest'
import { thrown } from '../support/thrown'
import { flat } from '../support/values'

describe('what cannot be captured is refused, with the line and the way out', () => {
  const x = tensor([1, 2])
  const refused = (fn: (x: Tensor) => unknown) => thrown(() => compile(fn)(x))

  test.each([
    ['data', (t: Tensor) => t.data()],
    ['dataSync', (t: Tensor) => t.dataSync()],
    ['item', (t: Tensor) => t.sum().item()],
    ['itemSync', (t: Tensor) => t.sum().itemSync()],
    ['toArray', (t: Tensor) => t.toArray()],
    ['ready', (t: Tensor) => t.ready()],
    ['bytes', (t: Tensor) => t.bytes()],
    ['comparison', (t: Tensor) => ((t as unknown as number) > 1 ? t : t.neg())],
    ['a read that the function does not wait for', (t: Tensor) => void t.data()],
    ['a read that the function catches', async (t: Tensor) => t.data().catch(() => t)],
    ['nonzero', (t: Tensor) => [t.nonzero()]],
    ['maskedSelect', (t: Tensor) => [t.maskedSelect(t.greater(1))]],
    ['unique', (t: Tensor) => [unique(t)]],
    ['manualSeed', () => manualSeed(1)],
    ['Math.random', (t: Tensor) => t.mul(Math.random())],
  ])('%s', (_, fn) => {
    const error = refused(fn)
    expect(error.code).toBe('ERR_CAPTURE')
    expect(error.message).toMatch(/refusals\.test\.ts:\d+:\d+/)
    expect(error.message).toMatch(/where\(\)|outside/)
  })

  test('async functions, new parameters, and arguments of other kinds', () => {
    expect(refused(async t => t).message).toMatch(/is async/)
    expect(refused(t => new Parameter(t)).message).toMatch(/made outside/)
    expect(() => compile((d: Date) => d)(new Date())).toThrow(/arguments are tensors.*got Date/)
    expect(() => compile(() => new Map([['x', x]]))()).toThrow(/results are tensors.*got Map/)
    expect(() => compile((s: symbol) => s)(Symbol('s'))).toThrow(/got Symbol/)
    const loop: { self?: unknown } = {}
    loop.self = loop
    expect(thrown(() => compile((o: object) => o)(loop)).message).toMatch(/contain themselves/)
    expect(thrown(() => compile(5 as never)).message).toMatch(/expected a function; got 5/)
    expect(() => compile(() => 1, { graphs: 0 })).toThrow(/graphs must be a whole number/)
  })

  test('arguments that require a gradient, whatever has been captured before', () => {
    const weight = new Parameter(tensor([1, 2]))
    const run = compile((t: Tensor) => t.square())
    for (let i = 0; i < 2; i++) {
      expect(thrown(() => run(weight.mul(2))).message).toMatch(/argument tensor 0 requires a gradient/)
      expect(noGrad(() => run(weight.mul(2))).shape).toEqual([2])
      expect(run(x).shape).toEqual([2])
    }
  })

  test('tensors without values that leave the function otherwise than by being returned', () => {
    let leaked: Tensor | undefined
    compile((t: Tensor) => {
      leaked = t.add(1)
    })(x)
    expect(() => leaked!.add(1)).toThrow(/disposed/)
  })

  test('an error of the function itself comes through, and nothing is left behind', async () => {
    const weight = new Parameter(tensor([1, 1]))
    let fails = true
    const run = compile((t: Tensor) => {
      weight.grad = undefined
      t.mul(weight).sum().backward()
      weight.assign(t)
      if (fails) throw new RangeError('mine')
      return t
    })
    expect(() => run(x)).toThrow(RangeError)
    expect(weight.grad).toBeUndefined()
    expect(await flat(weight)).toEqual([1, 1])
    expect(await flat(x.add(1))).toEqual([2, 3])
    fails = false
    run(x)
    expect(await flat(weight)).toEqual([1, 2])
  })
})
