import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fromBinary, fromCsv, fromItems, fromJsonLines, type NdArray, Random, readCsv, stack, Table } from 'anneal/data'
import { afterAll, describe, expect, it } from 'vitest'

const folder = mkdtempSync(join(tmpdir(), 'anneal-data-'))
afterAll(() => rmSync(folder, { recursive: true }))

let files = 0
function file(content: string | Uint8Array): string {
  const path = join(folder, `file${files++}`)
  writeFileSync(path, content)
  return path
}

/** How many descriptors of this process are open on `path`; the system lists them on Linux only. */
function openOn(path: string): number {
  if (process.platform !== 'linux') return 0
  return readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false
    }
  }).length
}

describe('fromCsv', () => {
  it('streams records with inferred types and missing values', async () => {
    const path = file('\ufeffage, name ,score\n31,"Ada, ""A"" L.",1e-3\n,NA,inf\n\n40,"two\nlines",-.5\n')
    expect(await fromCsv(path).toArray()).toEqual([
      { age: 31, name: 'Ada, "A" L.', score: 0.001 },
      { age: Number.NaN, name: null, score: Infinity },
      { age: 40, name: 'two\nlines', score: -0.5 },
    ])
  })

  it('keeps columns whose names mean something to JavaScript', async () => {
    const [row] = await fromCsv(file('__proto__,constructor\n1,2\n')).toArray()
    expect(Object.entries(row!)).toEqual([
      ['__proto__', 1],
      ['constructor', 2],
    ])
  })

  it('gives features and targets of every kind', async () => {
    const path = file('a,b,y\n1,2,yes\n3,4,no\n')
    const classes = ['no', 'yes']
    const [batch] = await fromCsv(path, { target: 'y', classes }).batch(2, { collate: stack }).toArray()
    expect(batch).toEqual([
      { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2], dtype: 'float32' },
      { data: Int32Array.of(1, 0), shape: [2], dtype: 'int32' },
    ])
    expect(await fromCsv(path, { target: 'b', columns: ['a'] }).toArray()).toEqual([
      [Float32Array.of(1), 2],
      [Float32Array.of(3), 4],
    ])
    expect((await fromCsv(path, { target: ['b'], columns: ['a'] }).toArray())[0]).toEqual([
      Float32Array.of(1),
      Float32Array.of(2),
    ])
  })

  it('takes other delimiters, names, marks and comments', async () => {
    const path = file('# survey\n1;?\n2;x\n')
    const options = { delimiter: ';', header: ['n', 's'], missing: ['?'], comment: '#' }
    expect(await fromCsv(path, options).toArray()).toEqual([
      { n: 1, s: null },
      { n: 2, s: 'x' },
    ])
    expect(await fromCsv(file('1,2\n'), { header: false }).toArray()).toEqual([{ column0: 1, column1: 2 }])
  })

  it('takes a number for a missing value where told, and zeros for zeros', async () => {
    const path = file('a\n-999\n0\n 7 \n')
    expect(await fromCsv(path, { missing: ['-999'] }).toArray()).toEqual([{ a: Number.NaN }, { a: 0 }, { a: 7 }])
  })

  it('reads the same again, from the middle too, and closes the file', async () => {
    const path = file(`v\n${Array.from({ length: 50_000 }, (_, i) => i).join('\n')}\n`)
    const dataset = fromCsv(path)
    for await (const record of dataset.iterate({ skip: 40_000 })) {
      expect(record).toEqual({ v: 40_000 })
      break
    }
    await expect.poll(() => openOn(path)).toBe(0)
    expect(await dataset.skip(49_999).toArray()).toEqual([{ v: 49_999 }])
  })

  it.each([
    ['a,b\n1,2\n3\n', {}, ':3: expected as many cells as in the first line, got 1'],
    ['a,b\n1,2\n3,4,5\n', {}, ':3: expected as many cells as in the first line, got 3'],
    ['a\n1\n"2\n', {}, 'not a valid CSV file'],
    ['a\n1\n"2"x\n', {}, ':3: not a valid CSV file'],
    ['a,a\n1,2\n', {}, ':1: expected column names that differ, got "a" twice'],
    ['', {}, 'got an empty file'],
    ['a,b\n', {}, 'expected rows after the header, got none'],
    ['a\n1\nx\n', { types: { a: 'number' } }, ':3: column a: expected a number, got "x"'],
    ['a\n0x10\n', { types: { a: 'number' } }, 'expected a number, got "0x10"'],
    [`a\n${'1\n'.repeat(150)}x\n`, {}, ':152: column a: expected a number, got "x"; if it is text, set types'],
    ['a,y\n1,z\n', { target: 'y', classes: ['x'] }, ':2: column y: expected one of the classes x, got "z"'],
    ['a,y\n1,\n', { target: 'y' }, ':2: column y: expected a number as target, got ""'],
    ['a,b\n1,2\n', { header: ['a'] }, 'header names 1 columns, but the row has 2'],
  ])('says what is broken, and where (%#)', async (content, options, message) => {
    const path = file(content)
    const reading = fromCsv(path, options as object).toArray()
    await expect(reading).rejects.toMatchObject({ code: 'ERR_FORMAT', message: expect.stringContaining(message) })
    await expect(reading).rejects.toThrow(path)
  })

  it('names the columns there are, and refuses options that fit none', async () => {
    const path = file('a,b\n1,2\n')
    await expect(fromCsv(path, { target: 'c' }).toArray()).rejects.toThrow(
      'there is no column "c"; the columns are a, b',
    )
    await expect(fromCsv(path, { types: { z: 'number' } }).toArray()).rejects.toMatchObject({ code: 'ERR_VALUE' })
    await expect(fromCsv(path, { target: ['a', 'b'] }).toArray()).rejects.toThrow('at least one feature column')
    for (const options of [{ delimiter: '' }, { delimiter: 5 }, { comment: 5 }]) {
      await expect(fromCsv(path, options as never).toArray()).rejects.toMatchObject({ code: 'ERR_VALUE' })
    }
    await expect(fromCsv(join(folder, 'none')).toArray()).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringContaining(`read ${join(folder, 'none')}: ENOENT: no such file`),
    })
    await expect(readCsv(folder)).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringMatching(/^read .*EISDIR: .*; this is a folder: give the path of a file$/),
    })
  })
})

describe('broken files', () => {
  const random = new Random(2)
  const noise = ['"', ',', '\n', '\r', '\0', '\u00e9', 'x', '""', ',,', '\ufeff', '{', '\\']

  function mutated(text: string): string {
    let result = text
    for (let n = random.int(3) + 1; n > 0; n--) {
      const place = random.int(result.length)
      result = result.slice(0, place) + noise[random.int(noise.length)] + result.slice(place + random.int(4))
    }
    return random.int(4) === 0 ? result.slice(0, random.int(result.length)) : result
  }

  it.each([
    ['CSV', 'a,b,y\n1,"two, 2",x\n3.5,,y\n-4,"f\nour",x\n', (path: string) => fromCsv(path)],
    ['JSON Lines', '{"a":[1,2],"b":"c"}\n{"a":[],"b":null}\n', (path: string) => fromJsonLines(path)],
  ])('%s: either read or refused with a code and the file named', async (_, text, open) => {
    let refused = 0
    for (let i = 0; i < 300; i++) {
      const path = file(mutated(text))
      const error = await open(path)
        .toArray()
        .then(
          () => undefined,
          error => error,
        )
      if (error === undefined) continue
      refused++
      expect(error).toMatchObject({ code: 'ERR_FORMAT', message: expect.stringContaining(path) })
    }
    expect(refused).toBeGreaterThan(50)
  })

  it('refuses a quote that is never closed once the record is too long', async () => {
    const path = file(`a\n"${'x'.repeat(2 ** 24 + 1000)}`)
    await expect(fromCsv(path).toArray()).rejects.toMatchObject({
      code: 'ERR_FORMAT',
      message: expect.stringContaining('16777216'),
    })
  })
})

describe('readCsv', () => {
  it('reads the sample data', async () => {
    const cancer = await readCsv('data/breast_cancer.csv')
    expect([cancer.length, cancer.columnNames.length]).toEqual([569, 31])
    expect(cancer.column('diagnosis').slice(0, 2)).toEqual(['malignant', 'malignant'])
    const x = cancer.features(cancer.columnNames.slice(0, 30))
    expect(x.shape).toEqual([569, 30])
    expect(x.data[0]).toBeCloseTo(17.99, 5)
    for (const [name, rows] of [
      ['digits', 1797],
      ['wine', 178],
      ['diabetes', 442],
    ] as const) {
      expect((await readCsv(`data/${name}.csv`)).length).toBe(rows)
    }
  })

  it('tells which text stands among numbers', async () => {
    const table = await readCsv(file('a,b\n1,2\noops,3\n'))
    expect(() => table.features()).toThrow('column a: expected numbers, got "oops" in row 1')
    expect([...table.numbers('b')]).toEqual([2, 3])
    await expect(readCsv(file('a\n1\noops\n'), { types: { a: 'number' } })).rejects.toThrow(':3: column a')
    await expect(readCsv(file('a\n'))).rejects.toMatchObject({ code: 'ERR_FORMAT' })
  })

  it('keeps digits of text columns', async () => {
    const table = await readCsv(file('zip\n01234\n'), { types: { zip: 'string' } })
    expect(table.column('zip')).toEqual(['01234'])
  })
})

describe('Table', () => {
  const table = new Table({ n: Float64Array.of(1, 2, 3, 4), s: ['a', 'a', 'b', 'b'] })

  it('selects, splits and iterates rows', async () => {
    expect(table.row(2)).toEqual({ n: 3, s: 'b' })
    expect(table.select([3, 0]).row(0)).toEqual({ n: 4, s: 'b' })
    const [one, two] = table.split([0.5, 0.5], { stratify: 's', seed: 3 })
    expect([...(one.column('s') as string[])].sort()).toEqual(['a', 'b'])
    expect([...one.numbers('n'), ...two.numbers('n')].sort()).toEqual([1, 2, 3, 4])
    expect((await table.toDataset().toArray())[3]).toEqual({ n: 4, s: 'b' })
    expect(await table.toDataset().toArrays()).toEqual({
      n: { data: Float32Array.of(1, 2, 3, 4), shape: [4], dtype: 'float32' },
      s: ['a', 'a', 'b', 'b'],
    })
  })

  it('refuses what does not fit', () => {
    expect(() => table.column('x')).toThrow('there is no column "x"; the columns are n, s')
    expect(() => table.row(4)).toThrow('from 0 to 3, got 4')
    expect(() => new Table({ a: Float64Array.of(1), b: [] })).toThrow('a has 1, b has 0')
    expect(() => new Table({})).toThrow('at least one column')
  })
})

describe('fromJsonLines', () => {
  it('streams values, across blocks of the file', async () => {
    const values = Array.from({ length: 3000 }, (_, i) => ({ i, text: `zeile ${i} äöü \u2028 ${'x'.repeat(i % 97)}` }))
    const path = file(`\ufeff${values.map(v => JSON.stringify(v)).join('\r\n')}\n\n`)
    expect(await fromJsonLines(path).toArray()).toEqual(values)
  })

  it.each([
    ['{"a":1}\n{"a":\n', ':2: expected one JSON value on the line, got {"a":'],
    ['', 'got a file without a value'],
    ['\n \n', 'got a file without a value'],
  ])('says what is broken, and where (%#)', async (content, message) => {
    await expect(fromJsonLines(file(content)).toArray()).rejects.toMatchObject({
      code: 'ERR_FORMAT',
      message: expect.stringContaining(message),
    })
  })

  it('bounds the length of a line, and names files that cannot be read', async () => {
    const path = file(`"${'x'.repeat(200_000)}"`)
    await expect(fromJsonLines(path, { maxLineLength: 1000 }).toArray()).rejects.toThrow('longer than 1000')
    const short = file('[1]\n[1, 2, 3]\n[4]\n')
    await expect(fromJsonLines(short, { maxLineLength: 5 }).toArray()).rejects.toThrow('longer than 5')
    expect(await fromJsonLines(short, { maxLineLength: 9 }).toArray()).toHaveLength(3)
    const directory = join(folder, 'directory')
    mkdirSync(directory)
    await expect(fromJsonLines(directory).toArray()).rejects.toMatchObject({ code: 'ERR_IO' })
  })
})

describe('fromBinary', () => {
  const fields = { x: { dtype: 'float32', shape: [2, 2] }, y: { dtype: 'int32' } } as const
  const records = Array.from({ length: 300 }, (_, i) => ({ x: [i, i + 0.25, i + 0.5, i + 0.75], y: i - 9 }))
  const path = file(
    Buffer.concat([
      Buffer.from('head'),
      ...records.flatMap(({ x, y }) => [
        Buffer.from(Float32Array.from(x).buffer),
        Buffer.from(Int32Array.of(y).buffer),
      ]),
    ]),
  )
  const dataset = fromBinary(path, { fields }, { offset: 4 })

  it('reads records by position, in any order', async () => {
    expect(dataset.length).toBe(300)
    expect(await dataset.at(7)).toEqual({
      x: { data: Float32Array.of(7, 7.25, 7.5, 7.75), shape: [2, 2], dtype: 'float32' },
      y: { data: Int32Array.of(-2), shape: [], dtype: 'int32' },
    })
    const shuffled = dataset.shuffle({ seed: 5 })
    const elements = await shuffled.toArray()
    const batches = (await shuffled.batch(64, { collate: stack }).toArray()) as { x: NdArray; y: NdArray }[]
    const ys = batches.flatMap(batch => [...batch.y.data])
    expect(ys).toEqual(elements.map(element => (element.y as NdArray).data[0]))
    expect([...ys].map(Number).sort((a, b) => a - b)).toEqual(records.map(r => r.y))
    expect(batches.flatMap(batch => [...batch.x.data])).toEqual(elements.flatMap(e => [...(e.x as NdArray).data]))
  })

  it('closes the file, also when left early', async () => {
    for await (const _ of dataset.map(v => v).prefetch(2)) break
    expect(openOn(path)).toBe(0)
  })

  it('reads single fields', async () => {
    const bytes = file(Uint8Array.of(1, 2, 3, 4))
    expect(await fromBinary(bytes, { dtype: 'uint8', shape: [2] }).toArrays()).toEqual({
      data: Uint8Array.of(1, 2, 3, 4),
      shape: [2, 2],
      dtype: 'uint8',
    })
  })

  it('says what is broken', async () => {
    for (const offset of [-8, 0.5, '4' as never]) {
      expect(() => fromBinary(path, { fields }, { offset })).toThrow(
        `fromBinary: offset: expected an integer of at least 0, got ${offset}`,
      )
    }
    expect(() => fromBinary(path, { fields }, {})).toThrow(
      'whole number of records of 20 bytes, at least one, after 0 bytes, got 6004',
    )
    expect(() => fromBinary(file(''), { dtype: 'uint8' })).toThrow(expect.objectContaining({ code: 'ERR_FORMAT' }))
    expect(() => fromBinary(join(folder, 'none'), { dtype: 'uint8' })).toThrow(
      expect.objectContaining({ code: 'ERR_IO' }),
    )
    expect(() => fromBinary(path, { dtype: 'float16' as never })).toThrow(
      expect.objectContaining({ code: 'ERR_DTYPE' }),
    )
    expect(() => fromBinary(path, { dtype: 'uint8', shape: [0] })).toThrow(
      expect.objectContaining({ code: 'ERR_SHAPE' }),
    )
    const shrinking = file(new Uint8Array(100))
    const bytes = fromBinary(shrinking, { dtype: 'uint8' })
    truncateSync(shrinking, 10)
    await expect(bytes.toArray()).rejects.toThrow('became shorter')
    expect(openOn(shrinking)).toBe(0)
  })
})

describe('mapInWorkers', () => {
  const script = join(folder, 'work.cjs')
  writeFileSync(
    script,
    `const { threadId } = require('node:worker_threads')
    module.exports = v => { if (v === 13) throw new Error('unlucky'); return { v: v * 2, threadId } }`,
  )

  it('maps in other threads, in order', async () => {
    const mapped = fromItems(Array.from({ length: 12 }, (_, i) => i)).mapInWorkers<{ v: number; threadId: number }>(
      pathToFileURL(script),
      { workers: 2 },
    )
    const results = await mapped.toArray()
    expect(results.map(r => r.v)).toEqual(Array.from({ length: 12 }, (_, i) => i * 2))
    expect(results.every(r => r.threadId > 0)).toBe(true)
  })

  it('passes errors on, and ends its threads', async () => {
    const mapped = fromItems([1, 13, 2]).mapInWorkers(script, { workers: 1 })
    await expect(mapped.toArray()).rejects.toThrow('map: element 1 of epoch 0: unlucky')
    for await (const _ of fromItems([1, 2, 3]).mapInWorkers(script, { workers: 2 })) break
    await expect(fromItems([1]).mapInWorkers(join(folder, 'none.cjs'), { workers: 1 }).toArray()).rejects.toThrow(
      'map: element 0',
    )
    // A thread left behind would keep this process alive and fail the run.
  })
})
