import { optim, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { flatOf, linear, matrix, quiet } from './models'

describe('schedules', () => {
  /** The learning rate of every update, by what it does to a weight whose gradient is 1. */
  async function rates(
    schedule: optim.Schedule,
    epochs: number,
    batchSize: number,
    optimizer = new optim.SGD({ lr: 0.5 }),
  ) {
    const model = linear(1, 1, { bias: false })
    model.weight.assign(tensor([[0]]))
    model.compile({ optimizer, loss: output => output.mean() })
    const seen: number[] = []
    let before = 0
    const callback = {
      stepEnd: async () => {
        const [now] = await flatOf(model.weight)
        seen.push((before - now!) / 0.5)
        before = now!
      },
    }
    const ones = tensor([1, 1, 1, 1], { shape: [4, 1] }).reshape([4, 1])
    const history = await model.fit(ones, ones, { ...quiet, epochs, batchSize, schedule, callbacks: [callback] })
    return { seen, lr: history.metrics.lr!, after: optimizer.lr }
  }

  const near = (list: number[]) => list.map(v => expect.closeTo(v, 4))

  test.each([
    ['step', new optim.StepSchedule(1, 0.5), [1, 1, 0.5, 0.5]],
    ['exponential', new optim.ExponentialSchedule(0.1), [1, 1, 0.1, 0.1]],
    ['several steps', new optim.MultiStepSchedule([1], 0.2), [1, 1, 0.2, 0.2]],
    ['cosine', new optim.CosineSchedule({ steps: 4 }), [1, (1 + Math.SQRT1_2) / 2, 0.5, (1 - Math.SQRT1_2) / 2]],
    ['cosine with warm-up', new optim.CosineSchedule({ steps: 2, warmUp: 2 }), [0.5, 1, 1, 0.5]],
    ['cosine with restarts', new optim.CosineSchedule({ steps: 2, restarts: true }), [1, 0.5, 1, 0.5]],
    ['polynomial', new optim.PolynomialSchedule(4), [1, 0.75, 0.5, 0.25]],
    ['warm-up', new optim.WarmUpSchedule(3), [1 / 3, 2 / 3, 1, 1]],
    ['a custom one', { factor: (step: number, epoch: number) => step + 10 * epoch }, [0, 1, 12, 13]],
  ] as const)('%s', async (_, schedule, expected) => {
    const { seen, lr, after } = await rates(schedule, 2, 2)
    expect(seen).toEqual(near([...expected]))
    expect(lr).toEqual(near([expected[1] * 0.5, expected[3] * 0.5]))
    expect(after).toBe(0.5) // the optimizer has its own rate again
  })

  test('one cycle rises and falls', async () => {
    const { seen } = await rates(new optim.OneCycleSchedule({ steps: 8 }), 2, 1)
    const top = seen.indexOf(Math.max(...seen))
    expect(seen[0]).toBeCloseTo(1 / 25, 3)
    expect([...seen].slice(top).every((v, i, list) => i === 0 || v <= list[i - 1]!)).toBe(true)
    expect(seen.at(-1)).toBeLessThan(1e-3)
  })

  test('on plateau', async () => {
    // The "loss" is the weight itself, and falls: no plateau in 'min', one at once in 'max'.
    const falling = await rates(new optim.PlateauSchedule({ monitor: 'loss', patience: 0 }), 4, 4)
    expect(falling.lr).toEqual(near([0.5, 0.5, 0.5, 0.5]))
    const options = { monitor: 'loss', mode: 'max', patience: 1, gamma: 0.5 } as const
    const { lr } = await rates(new optim.PlateauSchedule(options), 5, 4)
    expect(lr).toEqual(near([0.5, 0.5, 0.5, 0.25, 0.25]))
    await expect(rates(new optim.PlateauSchedule(), 1, 4)).rejects.toThrow(
      "there is no 'valLoss' to go by; there are loss, lr",
    )
  })

  test('groups keep their proportions, also through a factor of 0', async () => {
    const model = linear(1, 1)
    const optimizer = new optim.SGD([{ params: [model.weight] }, { params: [model.bias!], lr: 0.1 }], { lr: 1 })
    const seen: number[][] = []
    const callback = { stepEnd: () => void seen.push(optimizer.groups.map(group => group.lr)) }
    model.compile({ optimizer, loss: 'mse' })
    const schedule = { factor: (step: number) => [1, 0, 0.5, 0][step]! }
    await model.fit(matrix(4, 1), matrix(4, 1), { ...quiet, batchSize: 1, schedule, callbacks: [callback] })
    expect(seen).toEqual([
      [1, 0.1],
      [0, 0],
      [0.5, 0.05],
      [0, 0],
    ])
    expect(optimizer.groups.map(group => group.lr)).toEqual([1, 0.1])
  })
})
