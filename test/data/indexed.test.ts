import { fromArrays, fromGenerator, fromItems, type NdArray, Random, stack } from 'anneal/data'
import { describe, expect, it } from 'vitest'

const range = (n: number) => Array.from({ length: n }, (_, i) => i)

function count(values: readonly unknown[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const value of values) counts[String(value)] = (counts[String(value)] ?? 0) + 1
  return counts
}

describe('fromArrays', () => {
  it('gives rows, and batches of typed arrays', async () => {
    const dataset = fromArrays(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      Int32Array.of(0, 1, 2),
    )
    expect(dataset.length).toBe(3)
    expect(dataset.at(1)).toEqual([Float32Array.of(3, 4), { data: Int32Array.of(1), shape: [], dtype: 'int32' }])
    const [first, last] = await dataset.batch(2, { collate: stack }).toArray()
    expect(first).toEqual([
      { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2], dtype: 'float32' },
      { data: Int32Array.of(0, 1), shape: [2], dtype: 'int32' },
    ])
    expect((last as NdArray[])[0]!.shape).toEqual([1, 2])
  })

  it('batches the same with and without the copy of whole rows', async () => {
    const images = { data: Uint8Array.from(range(48)), shape: [6, 2, 2, 2] }
    const dataset = fromArrays({ image: images, name: ['a', 'b', 'c', 'd', 'e', 'f'] }, new Float64Array(6)).shuffle({
      seed: 1,
    })
    const fast = await dataset.batch(4, { collate: stack }).toArray()
    const slow = await dataset
      .map(element => element)
      .batch(4, { collate: stack })
      .toArray()
    expect(slow).toEqual(fast)
    expect(fast[0]![0].image.shape).toEqual([4, 2, 2, 2])
    expect(fast[0]![0].name).toHaveLength(4)
  })

  it('hands out copies of rows', async () => {
    const data = Float32Array.of(1, 2, 3, 4)
    const dataset = fromArrays({ data, shape: [2, 2] })
    ;((await dataset.at(0)) as Float32Array)[0] = 99
    expect([...data]).toEqual([1, 2, 3, 4])
  })

  it('keeps NaN, infinities and booleans', async () => {
    const dataset = fromArrays([[Number.NaN, Infinity]], [true])
    expect(await dataset.toArrays()).toEqual([
      { data: Float32Array.of(Number.NaN, Infinity), shape: [1, 2], dtype: 'float32' },
      { data: Uint8Array.of(1), shape: [1], dtype: 'bool' },
    ])
  })

  it.each([
    [
      () => fromArrays([[1, 2], [3]]),
      'ERR_SHAPE',
      'fromArrays: x: ragged array: expected 2 values at depth 1, got 1 values',
    ],
    [() => fromArrays([[1, 2], 3] as never), 'ERR_SHAPE', 'got number 3'],
    [() => fromArrays([1, [2]] as never), 'ERR_SHAPE', 'ragged'],
    [() => fromArrays([1, 2], [1]), 'ERR_SHAPE', 'x has 2, y has 1'],
    [() => fromArrays([]), 'ERR_VALUE', 'got none'],
    [
      () => fromArrays({ data: new Float32Array(5), shape: [2, 2] }),
      'ERR_SHAPE',
      'shape [2,2] needs 4 values, but data has 5',
    ],
    [() => fromArrays([1, '2'] as never), 'ERR_DTYPE', 'got text "2"'],
    [() => fromArrays(new Uint16Array(2) as never), 'ERR_DTYPE', 'Uint16Array'],
    [() => fromArrays(3 as never), 'ERR_SHAPE', 'without axes'],
  ])('refuses what is broken (%#)', (call, code, message) => {
    expect(call).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }))
  })
})

describe('stack', () => {
  it('stacks tuples, records, numbers and nested arrays', () => {
    expect(
      stack([
        [1, [1, 2]],
        [3, [4, 5]],
      ]),
    ).toEqual([
      { data: Float32Array.of(1, 3), shape: [2], dtype: 'float32' },
      { data: Float32Array.of(1, 2, 4, 5), shape: [2, 2], dtype: 'float32' },
    ])
    expect(
      stack([
        { a: 'x', b: 1n },
        { a: 'y', b: 2n },
      ]),
    ).toEqual({
      a: ['x', 'y'],
      b: { data: BigInt64Array.of(1n, 2n), shape: [2], dtype: 'int64' },
    })
  })

  it.each([
    [[Float32Array.of(1), Float32Array.of(1, 2)], 'expected shape [1] as in element 0, got shape [2]'],
    [[{ a: 1 }, { b: 1 }], 'expected the keys a as in element 0, got the keys b'],
    [[[1], [1, 2]], 'expected 1 members as in element 0, got 2 members'],
    [[1, 'a'], 'expected a number as in element 0, got text "a"'],
    [[Int32Array.of(1), Float32Array.of(1)], 'expected int32 as in element 0, got float32'],
    [['a', 1], 'expected text as in element 0, got number 1'],
    [[new Date(0)], 'expected numbers, booleans or typed arrays, got a Date'],
    [[], 'expected at least one element'],
  ])('refuses elements that differ (%#)', (elements, message) => {
    expect(() => stack(elements as unknown[])).toThrow(message)
  })
})

describe('split', () => {
  const labels = range(100).map(i => (i % 10 === 0 ? 'rare' : 'common'))

  it('is exact, disjoint and complete', () => {
    const parts = fromItems(range(10)).split([0.5, 0.3, 0.2], { seed: 4 })
    expect(parts.map(part => part.length)).toEqual([5, 3, 2])
    const all = parts.flatMap(part => range(part.length).map(i => part.at(i)))
    expect(all.sort()).toEqual(range(10))
  })

  it('keeps the share of classes when stratified', async () => {
    const dataset = fromItems(range(100))
    const [train, test] = dataset.split([0.8, 0.2], { stratify: labels, seed: 1 })
    expect(count((await train.toArray()).map(i => labels[i]))).toEqual({ rare: 8, common: 72 })
    expect(count((await test.toArray()).map(i => labels[i]))).toEqual({ rare: 2, common: 18 })
    // Mixed, not one class after another.
    expect((await test.toArray()).map(i => labels[i]).slice(0, 2)).not.toEqual(
      (await test.toArray()).map(() => 'rare').slice(0, 2),
    )
  })

  it('takes labels from functions, keys and targets', async () => {
    const y = Int32Array.from(range(20), i => i % 2)
    const [half] = fromArrays(new Float32Array(20), y).split([0.5, 0.5], { stratify: true })
    expect(count([...((await half.toArrays()) as [NdArray, NdArray])[1].data])).toEqual({ 0: 5, 1: 5 })
    const records = fromItems(range(20).map(i => ({ kind: i % 2 })))
    expect(count((await records.split([0.5, 0.5], { stratify: 'kind' })[1].toArray()).map(r => r.kind))).toEqual({
      0: 5,
      1: 5,
    })
    const [byFunction] = records.split([0.5, 0.5], { stratify: record => record.kind })
    expect(count((await byFunction.toArray()).map(r => r.kind))).toEqual({ 0: 5, 1: 5 })
  })

  it('keeps order without shuffle', async () => {
    const [past, future] = fromItems(range(10)).split([0.7, 0.3], { shuffle: false })
    expect(await past.toArray()).toEqual(range(7))
    expect(await future.toArray()).toEqual([7, 8, 9])
  })

  it('refuses classes of one, empty parts, wrong labels and asynchronous elements', () => {
    const dataset = fromItems(range(3))
    expect(() => dataset.split([0.5, 0.5], { stratify: [0, 0, 1] })).toThrow('class 1 has 1 element')
    expect(() => dataset.split([0.9, 0.1])).toThrow('the part of 0.1 would be empty')
    expect(() => dataset.split([0.5, 0.5], { stratify: [0] })).toThrow('one label for each of 3 elements, got 1')
    expect(() => dataset.map(async v => v).split([0.5, 0.5], { stratify: v => v })).toThrow('read asynchronously')
    expect(() => dataset.split([0.5, 0.5], { stratify: () => ({}) })).toThrow(
      'expected a text, number or boolean as label',
    )
    expect(() => fromItems([1]).repeat().split([0.5, 0.5])).toThrow('repeat')
  })
})

describe('sample', () => {
  it('draws by weights, anew in each epoch', async () => {
    const dataset = fromItems(range(3)).sample({ weights: [1, 0, 3], count: 4000, seed: 2 })
    const drawn = count(await dataset.toArray())
    expect(drawn['1']).toBeUndefined()
    expect(drawn['2']! / drawn['0']!).toBeGreaterThan(2.6)
    expect(drawn['2']! / drawn['0']!).toBeLessThan(3.4)
    const second: number[] = []
    for await (const value of dataset.iterate({ epoch: 1 })) second.push(value)
    expect(second).not.toEqual(await dataset.toArray())
  })

  it('draws each element at most once without replacement, heavy ones first', async () => {
    const dataset = fromItems(range(100)).sample({ weights: v => (v < 10 ? 1e6 : 1), count: 10, replacement: false })
    const drawn = await dataset.toArray()
    expect(new Set(drawn).size).toBe(10)
    expect(drawn.filter(v => v < 10).length).toBeGreaterThanOrEqual(9)
  })

  it('balances classes and ranges of a feature', async () => {
    const dataset = fromItems(
      range(1000).map(i => ({ label: i % 100 === 0 ? 'rare' : 'common', age: i < 900 ? 20 : 60 })),
    )
    const byClass = count((await dataset.sample({ balance: 'label', count: 2000 }).toArray()).map(r => r.label))
    expect(Math.abs(byClass.rare! - 1000)).toBeLessThan(100)
    const byAge = count((await dataset.sample({ balance: r => r.age, bins: 4, count: 2000 }).toArray()).map(r => r.age))
    expect(Math.abs(byAge['60']! - 1000)).toBeLessThan(100)
  })

  it.each([
    [{ weights: [1] }, 'one weight for each of 3 elements, got 1'],
    [{ weights: [1, -1, 1] }, 'got -1 for element 1'],
    [{ weights: [1, Number.NaN, 1] }, 'got NaN for element 1'],
    [{ weights: [0, 0, 0] }, 'at least 1 elements with a weight above 0, got 0'],
    [{ weights: [1, 0, 0], count: 2, replacement: false }, 'at least 2'],
    [{}, 'either weights or balance'],
    [{ balance: ['a', 'b', 'c'], bins: 2 }, 'bins need finite numbers'],
  ])('refuses what is broken (%#)', (options, message) => {
    expect(() => fromItems(range(3)).sample(options)).toThrow(message)
  })
})

describe('random access', () => {
  it('selects, checks indices, and reads through maps', async () => {
    const dataset = fromItems(range(5)).map(v => v * 10)
    expect(await dataset.select([4, 0, 4]).toArray()).toEqual([40, 0, 40])
    expect(dataset.at(3)).toBe(30)
    expect(() => dataset.at(5)).toThrow('from 0 to 4, got 5')
    expect(() => dataset.select([-1])).toThrow('got -1')
    expect(() => dataset.select([0.5])).toThrow('got 0.5')
  })

  it('tells lengths without reading', () => {
    const dataset = fromItems(range(10))
    expect(dataset.repeat().length).toBe(Infinity)
    expect(dataset.batch(4).length).toBe(3)
    expect(dataset.batch(4, { dropLast: true }).length).toBe(2)
    expect(dataset.shard(2, 4).length).toBe(2)
    expect(fromItems([]).length).toBe(0)
  })

  it('refuses to collect what is empty or never ends', async () => {
    await expect(fromItems([]).toArrays()).rejects.toMatchObject({ code: 'ERR_VALUE' })
    await expect(fromItems([1]).repeat().toArray()).rejects.toMatchObject({ code: 'ERR_VALUE' })
    await expect(fromItems([1]).repeat().toArrays()).rejects.toMatchObject({ code: 'ERR_VALUE' })
    expect(await fromGenerator(() => []).toArray()).toEqual([])
  })
})

describe('Random', () => {
  it('is uniform, and unrelated for close keys', () => {
    const counts = new Array(8).fill(0)
    for (let epoch = 0; epoch < 8000; epoch++) counts[new Random(1, epoch).int(8)]++
    // The chi-squared statistic with 7 degrees of freedom exceeds 24.3 once in a thousand.
    expect(counts.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0)).toBeLessThan(24.3)
  })

  it('keeps its numbers from one version to the next', () => {
    const random = new Random(42, 1)
    expect([random.int(1000), random.int(1000), random.float()]).toMatchInlineSnapshot(`
      [
        808,
        553,
        0.19737497104628987,
      ]
    `)
    expect([...new Random(0).permutation(8)]).toMatchInlineSnapshot(`
      [
        2,
        7,
        4,
        0,
        3,
        1,
        5,
        6,
      ]
    `)
  })

  it('tells large seeds apart', () => {
    expect(new Random(2 ** 33).float()).not.toBe(new Random(2 ** 34).float())
    expect(new Random(-1).float()).not.toBe(new Random(1).float())
  })
})
