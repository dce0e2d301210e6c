import { fromGenerator, fromItems } from 'anneal/data'
import { describe, expect, it } from 'vitest'

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const stream = (n: number) => fromGenerator(() => range(n))
const sources = { stream, indexed: (n: number) => fromItems(range(n)) }

async function collect<T>(elements: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const element of elements) all.push(element)
  return all
}

describe.each(Object.entries(sources))('a dataset (%s)', (_, make) => {
  it('gives its elements in each of several passes', async () => {
    const dataset = make(200)
    expect(await collect(dataset)).toEqual(range(200))
    expect(await collect(dataset)).toEqual(range(200))
  })

  it('chains map, filter, take, skip and shard', async () => {
    const dataset = make(20)
      .map(v => v * 2)
      .filter(v => v % 3 === 0)
    expect(await dataset.toArray()).toEqual([0, 6, 12, 18, 24, 30, 36])
    expect(await make(5).take(2).toArray()).toEqual([0, 1])
    expect(await make(5).take(9).toArray()).toEqual(range(5))
    expect(await make(5).take(0).toArray()).toEqual([])
    expect(await make(5).skip(3).toArray()).toEqual([3, 4])
    expect(await make(5).skip(9).toArray()).toEqual([])
    const shards = await Promise.all([0, 1, 2].map(i => make(8).shard(i, 3).toArray()))
    expect(shards).toEqual([
      [0, 3, 6],
      [1, 4, 7],
      [2, 5],
    ])
  })

  it('shuffles by seed and epoch alone', async () => {
    const shuffled = () => make(100).shuffle({ seed: 7 })
    const dataset = shuffled()
    const [first, second] = [await collect(dataset), await collect(dataset)]
    expect(first).not.toEqual(range(100))
    expect(second).not.toEqual(first)
    expect([...first].sort((a, b) => a - b)).toEqual(range(100))
    expect(await collect(shuffled().iterate({ epoch: 1 }))).toEqual(second)
    expect(await make(100).shuffle({ seed: 8 }).toArray()).not.toEqual(first)
  })

  it('continues from any state with exactly what would have come', async () => {
    const dataset = make(50)
      .shuffle({ seed: 3, bufferSize: 16 })
      .map((v, { random }) => [v, random.float()] as const, { seed: 5, concurrency: 4 })
      .filter(([v]) => v % 7 !== 0)
      .shard(0, 2)
      .repeat(2)
      .batch(3, { collate: elements => elements })
      .prefetch(2)
    const whole = await collect(dataset.iterate({ epoch: 4 }))
    for (const stop of [0, 1, 5, whole.length]) {
      const pass = dataset.iterate({ epoch: 4 })
      const seen = []
      while (seen.length < stop) seen.push((await pass.next()).value)
      const state = JSON.parse(JSON.stringify(pass.state()))
      await pass.return()
      expect(state).toEqual({ epoch: 4, skip: stop })
      expect([...seen, ...(await collect(dataset.iterate(state)))]).toEqual(whole)
    }
    const pass = dataset.iterate({ epoch: 4 })
    await collect(pass)
    expect(pass.state()).toEqual({ epoch: 5, skip: 0 })
  })

  it('repeats, each pass shuffled anew', async () => {
    const twice = await make(30).shuffle({ seed: 1 }).repeat(2).toArray()
    expect(twice).toHaveLength(60)
    expect(twice.slice(30)).not.toEqual(twice.slice(0, 30))
    expect(await make(3).repeat().take(7).toArray()).toEqual([0, 1, 2, 0, 1, 2, 0])
    expect(await make(0).repeat().toArray()).toEqual([])
    expect(await make(3).repeat(0).toArray()).toEqual([])
  })

  it('batches, with and without the last', async () => {
    const collate = (elements: number[]) => elements
    expect(await make(5).batch(2, { collate }).toArray()).toEqual([[0, 1], [2, 3], [4]])
    expect(await make(5).batch(2, { collate, dropLast: true }).toArray()).toEqual([
      [0, 1],
      [2, 3],
    ])
  })

  it('maps in parallel, in order, within its bound', async () => {
    let running = 0
    let most = 0
    const mapped = make(20).map(
      async v => {
        most = Math.max(most, ++running)
        await new Promise(resolve => setTimeout(resolve, (v * 7) % 5))
        running--
        return v
      },
      { concurrency: 4 },
    )
    expect(await mapped.toArray()).toEqual(range(20))
    expect(most).toBe(4)
  })

  it('says which element a map failed on, and why', async () => {
    const cause = new Error('no such colour')
    const mapped = make(9)
      .map(
        v => {
          if (v === 5) throw cause
          return v
        },
        { concurrency: 3 },
      )
      .prefetch(4)
    const seen: number[] = []
    const reading = (async () => {
      for await (const v of mapped) seen.push(v)
    })()
    await expect(reading).rejects.toMatchObject({
      code: 'ERR_VALUE',
      message: 'map: element 5 of epoch 0: no such colour',
      cause,
    })
    expect(seen).toEqual(range(5).slice(0, seen.length))
  })

  it('splits into disjoint parts that no epoch moves', async () => {
    const [train, test] = make(400).shuffle({ seed: 2 }).split([0.75, 0.25], { seed: 9 })
    const a = await collect(train)
    const again = await collect(train)
    const b = await collect(test)
    expect([...a, ...b].sort((x, y) => x - y)).toEqual(range(400))
    expect([...again].sort()).toEqual([...a].sort())
    expect(Math.abs(a.length - 300)).toBeLessThan(30)
  })

  it('stops for a signal', async () => {
    const controller = new AbortController()
    const pass = make(10).iterate({ signal: controller.signal })
    await pass.next()
    controller.abort()
    await expect(pass.next()).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    await expect(collect(make(3).iterate({ signal: AbortSignal.abort() }))).rejects.toMatchObject({
      code: 'ERR_ABORTED',
    })
  })

  it('refuses counts and seeds that make no sense', () => {
    const dataset = make(3)
    for (const call of [
      () => dataset.batch(0),
      () => dataset.take(-1),
      () => dataset.prefetch(1.5),
      () => dataset.map(v => v, { concurrency: 0 }),
      () => dataset.shuffle({ seed: 0.5 }),
      () => dataset.iterate({ epoch: Number.NaN }),
      () => dataset.split([0.5, 0.6]),
      () => dataset.split([]),
      () => dataset.split([1, 0]),
    ]) {
      expect(call).toThrow(expect.objectContaining({ code: 'ERR_VALUE' }))
    }
    expect(() => dataset.shard(3, 3)).toThrow('shard: expected an index from 0 to 2, got 3')
  })
})

it.each(Object.entries(sources))('lets the event loop go round during a long pass (%s)', async (_, make) => {
  let turns = 0
  let running = true
  const turn = () => {
    turns++
    if (running) setImmediate(turn)
  }
  setImmediate(turn)
  const busy = make(80).map(v => {
    const end = performance.now() + 1
    while (performance.now() < end) v++
    return v
  })
  await busy.toArray()
  running = false
  expect(turns).toBeGreaterThan(3)
})

describe('a stream', () => {
  function watched(n: number) {
    const seen = { opened: 0, closed: 0, made: 0 }
    const dataset = fromGenerator(async function* () {
      seen.opened++
      try {
        for (let i = 0; i < n; i++) {
          seen.made++
          yield i
        }
      } finally {
        seen.closed++
      }
    })
    return { dataset, seen }
  }

  it('is closed when a loop ends early, through every operator', async () => {
    const { dataset, seen } = watched(1e9)
    const chain = dataset
      .map(v => v, { concurrency: 3 })
      .filter(() => true)
      .shuffle({ bufferSize: 8 })
      .skip(1)
      .shard(0, 2)
      .repeat()
      .batch(2, { collate: e => e })
      .prefetch(3)
    for await (const _ of chain) break
    expect(seen.opened).toBe(1)
    expect(seen.closed).toBe(1)
    expect(seen.made).toBeLessThan(60)
  })

  it('holds no more than its shuffle buffer', async () => {
    const { dataset, seen } = watched(1000)
    const pass = dataset.shuffle({ bufferSize: 10 }).iterate()
    for (let given = 1; given <= 900; given++) {
      await pass.next()
      expect(seen.made - given).toBeLessThanOrEqual(10)
    }
    await pass.return()
  })

  it('is made ahead while the consumer works, and no further than said', async () => {
    const { dataset, seen } = watched(100)
    const pass = dataset.prefetch(3).iterate()
    await pass.next()
    await new Promise(resolve => setTimeout(resolve, 5))
    expect(seen.made).toBe(4)
    await pass.return()
    expect(seen.closed).toBe(1)
  })

  it('gives a prefetched error in its turn, after what came before it', async () => {
    const failing = fromGenerator(function* () {
      yield 1
      yield 2
      throw new Error('cable cut')
    })
    const pass = failing.prefetch(8).iterate()
    await new Promise(resolve => setTimeout(resolve, 5))
    expect((await pass.next()).value).toBe(1)
    expect((await pass.next()).value).toBe(2)
    await expect(pass.next()).rejects.toThrow('cable cut')
    expect((await pass.next()).done).toBe(true)
  })

  it('does not know its length, nor pretend to', () => {
    const { dataset } = watched(5)
    expect(dataset.length).toBeUndefined()
    expect(dataset.batch(2).length).toBeUndefined()
  })

  it('cannot stratify, and says what can', () => {
    expect(() => stream(4).split([0.5, 0.5], { stratify: v => v })).toThrow('fromItems(await dataset.toArray())')
  })

  it('needs a function, since an iterator ends for good', async () => {
    expect(() => fromGenerator(range(3) as never)).toThrow('wrap it')
    for (const made of [undefined, null, 3, {}]) {
      await expect(fromGenerator(() => made as never).toArray()).rejects.toMatchObject({
        code: 'ERR_VALUE',
        message: expect.stringMatching(
          /^fromGenerator: expected the function to give an array, a generator or a stream, got /,
        ),
      })
    }
  })
})
