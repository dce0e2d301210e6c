import { crossEntropy, losses, mseLoss, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'

describe('losses by name', () => {
  test('each name gives the loss with default options', async () => {
    const output = tensor([0.5, -1, 2])
    const target = tensor([1, 0, 1])
    for (const name of ['mse', 'mae', 'huber', 'bceWithLogits', 'focal'] as const) {
      const expected = await losses[name](output, target).item()
      expect(await losses.resolve(name)(output, target).item()).toBe(expected)
    }
    expect(losses.names).toContain('crossEntropy')
  })

  test('a function stands for itself', () => {
    const own = (a: Parameters<losses.LossFunction>[0]) => a.sum()
    expect(losses.resolve(own)).toBe(own)
  })

  test('an unknown name is an error that lists the known ones', () => {
    expect(() => losses.resolve('mes' as never)).toThrow(/unknown name 'mes'.*mse, mae/)
    expect(() => losses.resolve('toString' as never)).toThrow(/unknown name/)
  })
})

describe('wrong inputs', () => {
  test('shapes that would broadcast are refused', () => {
    expect(() => mseLoss(tensor([1, 2]), tensor([[1], [2]]))).toThrow('mseLoss: shapes differ: [2] and [2,1]')
  })

  test('a class out of range rejects, naming row and value', async () => {
    const logits = tensor([
      [1, 2],
      [3, 4],
    ])
    const target = tensor([0, 2], { dtype: 'int64' })
    await expect(crossEntropy(logits, target).item()).rejects.toMatchObject({
      code: 'ERR_INDEX',
      message: expect.stringContaining('the target of row 1 is 2; expected a class from 0 to 1'),
    })
  })

  test('targets and weights of wrong shapes', () => {
    const logits = tensor([[1, 2, 3]])
    expect(() => crossEntropy(logits, tensor([[0]], { dtype: 'int64' }))).toThrow(/need class indices \[1\]/)
    expect(() => crossEntropy(logits, tensor([1, 2]))).toThrow(/shape of the logits/)
    expect(() => losses.crossEntropy(logits, tensor([1]))).toThrow(
      expect.objectContaining({
        code: 'ERR_DTYPE',
        message: expect.stringMatching(/class indices must be integers; got float32 \[1\].*cast\('int64'\)/),
      }),
    )
    expect(() => crossEntropy(logits, tensor([1], { dtype: 'int32' }), tensor([1, 2]))).toThrow(/one weight for each/)
  })
})
