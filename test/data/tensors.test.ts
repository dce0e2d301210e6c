import { tensor } from 'anneal'
import { fromArrays, fromGenerator, fromTensors, readCsv, scalarOf } from 'anneal/data'
import { describe, expect, it } from 'vitest'

describe('batches of tensors', () => {
  it('have the shapes and dtypes of the arrays', async () => {
    const images = { data: Uint8Array.from({ length: 24 }, (_, i) => i), shape: [3, 2, 2, 2] }
    const dataset = fromArrays({ images, flags: [true, false, true] }, Int32Array.of(7, 8, 9))
    const [batch] = await dataset.batch(2).toArray()
    const [{ images: x, flags }, y] = batch!
    expect([x.shape, x.dtype]).toEqual([[2, 2, 2, 2], 'uint8'])
    expect([flags.shape, flags.dtype]).toEqual([[2], 'bool'])
    expect([y.shape, y.dtype]).toEqual([[2], 'int32'])
    expect(Array.from(await x.data(), Number)).toEqual(Array.from({ length: 16 }, (_, i) => i))
    expect(await y.toArray()).toEqual([7, 8])
  })

  it('are the same from a stream as from arrays', async () => {
    const rows = [
      [1, 2],
      [3, 4],
      [5, 6],
    ]
    const stream = fromGenerator(() => rows.map((row, i) => [Float32Array.from(row), i] as [Float32Array, number]))
    for await (const [x, y] of stream.batch(3)) {
      expect(await x.toArray()).toEqual(rows)
      expect(await y.toArray()).toEqual([0, 1, 2])
      expect([x.dtype, y.dtype]).toEqual(['float32', 'float32'])
    }
  })

  it('keep labels int32 through a map and a prefetch', async () => {
    const dataset = fromArrays([[1], [2]], Int32Array.of(4, 5)).map(([x, y]) => ({
      x: (x as Float32Array).map(v => v * 10),
      y,
    }))
    const [batch] = await dataset.batch(2).prefetch(2).toArray()
    expect(await batch!.x.toArray()).toEqual([[10], [20]])
    expect([batch!.y.dtype, await batch!.y.toArray()]).toEqual(['int32', [4, 5]])
  })

  it('come back out of tensors, 16-bit floats as float32', async () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ])
    const half = tensor([0.5, 1.5], { dtype: 'float16' })
    for (const dataset of [await fromTensors(x, half), fromArrays(x, half)]) {
      const [a, b] = (await dataset.batch(2).toArray())[0]!
      expect(await a.toArray()).toEqual([
        [1, 2],
        [3, 4],
      ])
      expect([b.dtype, await b.toArray()]).toEqual(['float32', [0.5, 1.5]])
    }
    const [row] = await (await fromTensors(tensor(Int32Array.of(3)))).toArray()
    expect(scalarOf(row)).toBe(3)
    expect(() => fromArrays(tensor(1))).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
  })

  it('of a real table are split, batched and complete', async () => {
    const table = await readCsv('data/wine.csv')
    const names = table.columnNames.slice(0, -1)
    const labels = table.column('cultivar') as string[]
    const [train, test] = fromArrays(
      table.features(names),
      Int32Array.from(labels, l => Number(l.at(-1))),
    ).split([0.75, 0.25], {
      stratify: true,
    })
    let rows = 0
    for await (const [x, y] of train.shuffle({ seed: 1 }).batch(32)) {
      expect(x.shape).toEqual([y.shape[0], 13])
      rows += y.size
    }
    expect(rows + test.length).toBe(178)
  })
})
