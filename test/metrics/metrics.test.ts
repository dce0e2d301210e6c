import { memory, scope, type Tensor, tensor } from 'anneal'
import {
  Accuracy,
  type Average,
  ConfusionMatrix,
  F1,
  MeanAbsoluteError,
  type Metric,
  Perplexity,
  PrAuc,
  Precision,
  R2,
  Recall,
  RocAuc,
  resolveMetric,
  TopKAccuracy,
} from 'anneal/metrics'
import { describe, expect, test } from 'vitest'
import cases from './golden.json'

type Nested = number | Nested[]

interface Case {
  metric: string
  output: Nested
  target: Nested
  value: Nested
  average?: Average
  k?: number
}

const perClass = { precision: Precision, recall: Recall, f1: F1 }

function make({ metric, average, k }: Case): Metric {
  if (k !== undefined) return new TopKAccuracy(k)
  if (metric in perClass) return new perClass[metric as 'f1'](average)
  return resolveMetric(metric)
}

async function check(metric: Metric, { metric: name, value }: Case): Promise<void> {
  if (name === 'confusion') return expect(await (metric as ConfusionMatrix).matrix()).toEqual(value)
  expect(await metric.result()).toBeCloseTo(value as number, 6)
}

const rows = (values: Nested, start: number, end?: number) => tensor((values as number[]).slice(start, end))

const golden = cases as unknown as Case[]

describe.each(golden.map((c, i) => [`${c.metric} ${c.average ?? c.k ?? ''} #${i}`, c] as const))('%s', (_, c) => {
  test('over one batch', async () => {
    const metric = make(c)
    metric.update(tensor(c.output), tensor(c.target))
    await check(metric, c)
  })

  test('over uneven batches, saved and restored in between', async () => {
    const metric = make(c)
    metric.update(rows(c.output, 0, 2), rows(c.target, 0, 2))
    metric.update(rows(c.output, 2, 3), rows(c.target, 2, 3))
    const other = make(c)
    other.restore(JSON.parse(JSON.stringify(await metric.state())))
    other.update(rows(c.output, 3), rows(c.target, 3))
    await check(other, c)
  })
})

test('targets may be integers, booleans and floats', async () => {
  const logits = tensor([0.5, -0.5, 2, -1])
  for (const dtype of ['float32', 'float64', 'int32', 'int64', 'uint8', 'bool'] as const) {
    for (const [name, expected] of Object.entries({ accuracy: 0.75, rocAuc: 2 / 3, f1: 0.8 })) {
      const metric = resolveMetric(name)
      metric.update(logits, tensor([1, 0, 1, 1]).cast(dtype))
      expect([dtype, name, await metric.result()]).toEqual([dtype, name, expected])
    }
  }
})

test('outputs may be of 16 bits', async () => {
  for (const name of ['accuracy', 'mae', 'rocAuc', 'prAuc']) {
    const metric = resolveMetric(name)
    metric.update(tensor([1, -1]).cast('bfloat16'), tensor([1, 0]))
    expect(await metric.result()).toBe(name === 'mae' ? 0.5 : 1)
  }
})

test('figures that have no examples', async () => {
  for (const name of ['accuracy', 'mae', 'rocAuc', 'prAuc', 'perplexity', 'confusion', 'r2', 'f1']) {
    expect(await resolveMetric(name).result()).toBeNaN()
  }
  const oneKind = new RocAuc()
  oneKind.update(tensor([1, 2]), tensor([1, 1]))
  expect(await oneKind.result()).toBeNaN()
  const noPositives = new PrAuc()
  noPositives.update(tensor([1, 2]), tensor([0, 0]))
  expect(await noPositives.result()).toBeNaN()
  const neverPredicted = new Precision()
  neverPredicted.update(tensor([-1, -2]), tensor([1, 0]))
  expect(await neverPredicted.result()).toBe(0)
})

test('class indices below 0, which crossEntropy ignores, count nowhere', async () => {
  const values = [
    [3, 2, 1],
    [9, 0, 0],
    [1, 2, 3],
    [0, 9, 0],
    [5, 4, 0],
  ]
  const logits = tensor(values)
  const kept = tensor(values.filter((_, i) => i % 2 === 0))
  const make = [
    () => new Accuracy(),
    () => new TopKAccuracy(2),
    () => new F1('macro'),
    () => new Recall('weighted'),
    () => new ConfusionMatrix(),
    () => new RocAuc(),
    () => new PrAuc(),
  ]
  for (const metric of make) {
    const [all, some] = [metric(), metric()]
    all.update(logits, tensor([0, -100, 2, -1, 1]))
    some.update(kept, tensor([0, 2, 1]))
    expect(await all.result()).toBe(await some.result())
  }
  const matrix = new ConfusionMatrix()
  matrix.update(logits, tensor([0, -100, 2, -1, 1]))
  expect(await matrix.matrix()).toEqual([
    [1, 0, 0],
    [1, 0, 0],
    [0, 0, 1],
  ])
})

test('r2 does not lose deviations that are small beside the mean', async () => {
  const target = tensor([1e8, 1e8 + 1, 1e8 + 2], { dtype: 'float64' })
  const output = tensor([1e8, 1e8 + 1, 1e8 + 2.5], { dtype: 'float64' })
  const whole = new R2()
  whole.update(output, target)
  expect(await whole.result()).toBe(0.875)
  const batches = new R2()
  for (let i = 0; i < 3; i++)
    batches.update(output.index({ start: i, end: i + 1 }), target.index({ start: i, end: i + 1 }))
  expect(await batches.result()).toBeCloseTo(0.875, 12)
})

test('r2 of targets that are all equal, and of one', async () => {
  for (const [output, value] of [
    [[0.1, 0.1, 0.1], 1],
    [[0.1, 0.1, 0.2], 0],
    [[0.1], Number.NaN],
  ] as const) {
    const metric = new R2()
    metric.update(tensor(output), tensor(output.map(() => 0.1)))
    expect(await metric.result()).toBe(value)
  }
})

test('settings that mean nothing are refused', () => {
  expect(() => new F1('makro' as never)).toThrow(/F1: expected average to be one of binary, macro.*; got 'makro'/)
  expect(() => new TopKAccuracy(0)).toThrow('TopKAccuracy: expected k to be a positive integer; got 0')
  expect(() => new ConfusionMatrix(-1)).toThrow('ConfusionMatrix: expected classes to be a positive integer; got -1')
})

test('a score that is not a number makes a ranking not a number', async () => {
  for (const metric of [new RocAuc(), new PrAuc()]) {
    metric.update(tensor([1, Number.NaN, 0]), tensor([1, 0, 0]))
    expect(await metric.result()).toBeNaN()
  }
})

test('a ranking of many examples equals the count of pairs', async () => {
  const n = 400
  const scores = Float32Array.from({ length: n }, (_, i) => (i * i * 7919) % 41)
  const truth = Float32Array.from({ length: n }, (_, i) => ((i * 31 + 7) % 17) % 2)
  let [wins, pairs] = [0, 0]
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (truth[i] !== 1 || truth[j] !== 0) continue
      pairs++
      wins += scores[i]! > scores[j]! ? 1 : scores[i] === scores[j] ? 0.5 : 0
    }
  }
  const metric = new RocAuc()
  metric.update(tensor(scores), tensor(truth))
  expect(await metric.result()).toBeCloseTo(wins / pairs, 12)
})

test('counts stay exact where float32 would not', async () => {
  const metric = new MeanAbsoluteError()
  metric.restore({ sums: [2 ** 24, 2 ** 24], shape: [2] })
  metric.update(tensor([1]), tensor([0]))
  expect((await metric.state()) as unknown).toEqual({ sums: [2 ** 24 + 1, 2 ** 24 + 1], shape: [2] })
})

test('a clone has the settings and none of the batches', async () => {
  const logits = tensor([
    [3, 2, 1],
    [1, 2, 3],
  ])
  for (const metric of [new TopKAccuracy(2), new F1('micro'), new RocAuc(), new ConfusionMatrix(3)]) {
    metric.update(logits, tensor([0, 2]))
    const before = await metric.state()
    const clone = metric.clone()
    expect(clone).toBeInstanceOf(metric.constructor)
    expect(clone.name).toBe(metric.name)
    expect(await clone.result()).toBeNaN()
    clone.update(logits, tensor([0, 2]))
    expect(await clone.result()).toEqual(await metric.result())
    clone.reset()
    expect(await metric.state()).toEqual(before)
  }
  const top = new TopKAccuracy(2).clone()
  top.update(logits, tensor([1, 1]))
  expect(await top.result()).toBe(1)
})

test('reset forgets, and leaves no tensors behind', async () => {
  const count = () => memory().tensors
  const logits = tensor([[1, 0]])
  const target = tensor([0])
  for (const name of ['accuracy', 'rocAuc', 'confusion', 'perplexity']) {
    const metric = resolveMetric(name)
    const before = count()
    for (let i = 0; i < 3; i++) scope(() => metric.update(logits, target))
    await metric.result()
    metric.reset()
    expect([name, count()]).toEqual([name, before])
    expect(await metric.result()).toBeNaN()
  }
})

test('targets that do not fit are refused with the shapes', () => {
  const update = (metric: Metric, output: Tensor, target: Tensor) => () => metric.update(output, target)
  const logits = tensor([
    [1, 2],
    [3, 4],
  ])
  for (const metric of [new Accuracy(), new RocAuc(), new F1(), new TopKAccuracy()]) {
    expect(update(metric, logits, tensor([0, 1, 1]))).toThrow(/\[2,2\].*\[3\]/)
  }
  expect(update(new R2(), logits, tensor([0, 1]))).toThrow('metric: outputs [2,2] and targets [2] differ')
  expect(update(new Perplexity(), logits, tensor([0, 1, 1]))).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
})

test('average binary is for two classes', async () => {
  const metric = new F1('binary')
  metric.update(tensor([[1, 2, 3]]), tensor([1]))
  await expect(metric.result()).rejects.toThrow("f1: average 'binary' is for two classes; there are 3")
})

test('an unknown name is refused with the known ones', () => {
  expect(() => resolveMetric('acuracy')).toThrow(/unknown metric 'acuracy'.*accuracy.*rocAuc/)
  expect(() => resolveMetric('toString')).toThrow(/unknown metric/)
})
