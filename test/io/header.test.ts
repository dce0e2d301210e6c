import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AnnealError } from '../../src/errors'
import { headerLength, parseHeader, readSafetensorsHeader } from '../../src/io/header'
import { duplicateKey } from '../../src/io/json'
import { writeSafetensors } from '../../src/io/writer'
import { errorOf, floats, integers, safetensors, temporaryFolder } from './helpers'

const f32 = (shape: number[], begin: number, end: number) => ({ dtype: 'F32', shape, data_offsets: [begin, end] })

async function read(bytes: Uint8Array) {
  const path = join(await temporaryFolder(), 'model.safetensors')
  await writeFile(path, bytes)
  return readSafetensorsHeader(path)
}

test('a header gives every tensor its place, in the order of the data', async () => {
  const header = {
    b: f32([2, 3], 8, 32),
    a: { dtype: 'I64', shape: [], data_offsets: [0, 8] },
    empty: { dtype: 'BOOL', shape: [0, 5], data_offsets: [8, 8] },
    __metadata__: { format: 'pt' },
  }
  const start = 8 + JSON.stringify(header).length
  const { metadata, tensors } = await read(safetensors(header, 32))
  expect(metadata).toEqual({ format: 'pt' })
  expect(tensors).toEqual([
    { name: 'a', dtype: 'int64', shape: [], begin: start, end: start + 8 },
    { name: 'empty', dtype: 'bool', shape: [0, 5], begin: start + 8, end: start + 8 },
    { name: 'b', dtype: 'float32', shape: [2, 3], begin: start + 8, end: start + 32 },
  ])
})

test('a file without tensors is well formed', async () => {
  expect(await read(safetensors({}))).toEqual({ metadata: {}, tensors: [] })
})

const hostile: [string, Uint8Array, RegExp][] = [
  ['empty file', new Uint8Array(0), /expected at least 8 bytes.*got 0 bytes/],
  ['length only', new Uint8Array(8), /starts with "\{", got none/],
  ['length beyond the file', Buffer.from([255, 0, 0, 0, 0, 0, 0, 0, 123]), /at most 1 bytes.*header length 255/],
  ['length of 2^64-1', Buffer.alloc(16, 255), /header length 18446744073709551615/],
  ['leading space', safetensors(' {}'), /starts with "\{", got byte 32/],
  ['byte order mark', safetensors('\ufeff{}'), /starts with "\{"/],
  ['invalid UTF-8', safetensors(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), /UTF-8/],
  ['not JSON', safetensors('{"a":'), /in JSON/],
  ['text after the object', safetensors('{}{}'), /in JSON/],
  ['deep nesting', safetensors(`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`), /an object with dtype/],
  ['deep shape', safetensors(`{"a":{"dtype":"F32","shape":[${'['.repeat(99_999)}${']'.repeat(99_999)}]}}`), /shape of/],
  ['duplicate tensor', safetensors('{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"\\u0061":0}', 1), /"a" twice/],
  [
    'duplicate field',
    safetensors('{"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}', 1),
    /"dtype" twice/,
  ],
  ['duplicate metadata', safetensors('{"__metadata__":{"x":"1","x":"2"}}'), /"x" twice/],
  ['metadata number', safetensors({ __metadata__: { epoch: 3 } }), /__metadata__ "epoch" as a string, got 3/],
  ['metadata list', safetensors({ __metadata__: [] }), /object of strings, got \[\]/],
  ['tensor null', safetensors({ a: null }), /tensor "a": expected an object with dtype.*got null/],
  ['unsupported dtype', safetensors({ a: { dtype: 'U16', shape: [], data_offsets: [0, 2] } }, 2), /BOOL, got "U16"/],
  [
    'inherited dtype',
    safetensors({ a: { dtype: 'constructor', shape: [], data_offsets: [0, 2] } }, 2),
    /"constructor"/,
  ],
  ['negative size', safetensors({ a: f32([-1], 0, 4) }, 4), /non-negative integers, got \[-1\]/],
  ['negative zero', safetensors('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'), /non-negative integers/],
  ['fraction', safetensors({ a: f32([0.5], 0, 4) }, 4), /got \[0.5\]/],
  ['size beyond 2^53', safetensors({ a: f32([2 ** 53], 0, 4) }, 4), /non-negative integers/],
  ['product overflow', safetensors({ a: f32([2 ** 32, 2 ** 32], 0, 0) }), /below 2\^53/],
  ['overflow hidden by zero', safetensors({ a: f32([2 ** 40, 2 ** 40, 0], 0, 0) }), /below 2\^53/],
  ['missing offsets', safetensors({ a: { dtype: 'F32', shape: [1] } }, 4), /two non-negative integers, got none/],
  ['three offsets', safetensors({ a: { ...f32([1], 0, 4), data_offsets: [0, 4, 8] } }, 8), /got \[0,4,8\]/],
  ['offsets reversed', safetensors({ a: f32([1], 4, 0) }, 4), /within the 4 bytes/],
  [
    'offsets beyond the file',
    safetensors({ a: f32([2], 0, 8) }, 4),
    /tensor "a": expected.*within the 4 bytes.*\[0,8\]/,
  ],
  ['size against shape', safetensors({ a: f32([3], 0, 8) }, 8), /12 bytes for F32 \[3\], got 8/],
  ['overlap', safetensors({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, 8), /tensor "b".*from 8 on, got 4: an overlap/],
  ['same place', safetensors({ a: f32([1], 0, 4), b: f32([1], 0, 4) }, 4), /an overlap/],
  ['hole', safetensors({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12), /tensor "b".*a hole/],
  ['hole at the start', safetensors({ a: f32([1], 4, 8) }, 8), /tensor "a".*a hole/],
  ['data after the last', safetensors({ a: f32([1], 0, 4) }, 5), /4 bytes of data.*got 5 bytes/],
  [
    'half a surrogate pair',
    safetensors('{"\\ud800":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', 1),
    /well-formed/,
  ],
  ['a very long name', safetensors({ ['x'.repeat(1_000_000)]: 1 }), /^.{0,400}$/s],
]

test.each(hostile)('a broken file is refused: %s', async (_what, bytes, message) => {
  const error = await errorOf('ERR_FORMAT', () => read(bytes))
  expect(error.message).toMatch(message)
  expect(error.message).toContain('model.safetensors')
})

test('a name like __proto__ is a name like any other', async () => {
  const { tensors } = await read(safetensors('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1))
  expect(tensors.map(t => t.name)).toEqual(['__proto__'])
})

test('a missing file or a folder is an ERR_IO that names it', async () => {
  const folder = await temporaryFolder()
  expect((await errorOf('ERR_IO', () => readSafetensorsHeader(join(folder, 'none')))).message).toMatch(
    /read .*none: ENOENT: no such file.*; check the path$/,
  )
  expect((await errorOf('ERR_IO', () => readSafetensorsHeader(folder))).message).toMatch(/expected a file/)
})

test('a sparse file of 3 GB is read without its data', async () => {
  const path = join(await temporaryFolder(), 'large.safetensors')
  const size = 3 * 2 ** 30
  const header = { large: { dtype: 'U8', shape: [size], data_offsets: [0, size] }, last: f32([1], size, size + 4) }
  const start = safetensors(header)
  const handle = await open(path, 'w')
  await handle.write(start)
  await handle.truncate(start.length + size + 4)
  await handle.close()
  const { tensors } = await readSafetensorsHeader(path)
  expect(tensors[1]).toMatchObject({ name: 'last', begin: start.length + size, end: start.length + size + 4 })
})

test('duplicateKey knows objects, arrays, escapes and depth', () => {
  expect(duplicateKey('{"a":{"a":1},"b":[{"a":1},{"a":"a"}],"c":"\\"a\\\\"}')).toBeUndefined()
  expect(duplicateKey('[{"k":["k","k",{"x":1}],"k":2}]')).toBe('k')
  expect(duplicateKey('{"a\\"":1,"a\\u0022":2}')).toBe('a"')
})

test('thousands of mutated files give a header or an ERR_FORMAT, nothing else', async () => {
  const path = join(await temporaryFolder(), 'seed.safetensors')
  await writeSafetensors(path, { 'a.weight': floats(1, 2, 3), 'b.bias': floats(), c: floats(4) }, { format: 'pt' })
  const good = await readFile(path)
  const random = integers(7)
  const tokens = ['{', '}', '[', ']', ',', '"', '-', '9', '1e999', 'null', '\\', '"shape"', '[0,4]', '\u0000', '\xff']
  let refused = 0
  for (let round = 0; round < 20_000; round++) {
    let bytes: Buffer = Buffer.from(good)
    for (let edits = 1 + random(3); edits > 0; edits--) bytes = mutate(bytes, random, tokens)
    if (!outcome(bytes)) refused++
  }
  expect(refused).toBeGreaterThan(15_000)
})

function mutate(bytes: Buffer, random: (below: number) => number, tokens: string[]): Buffer {
  const at = random(bytes.length + 1)
  const kind = random(5)
  if (kind === 0) return bytes.subarray(0, at)
  if (kind === 1) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(8))])
  const token = Buffer.from(tokens[random(tokens.length)]!, 'latin1')
  if (kind === 2) return Buffer.concat([bytes.subarray(0, at), token, bytes.subarray(at + token.length)])
  if (kind === 3) return Buffer.concat([bytes.subarray(0, at), token, bytes.subarray(at)])
  const flipped = Buffer.from(bytes)
  if (at < flipped.length) flipped[at]! ^= 1 << random(8)
  return flipped
}

/** Whether the header is accepted; whatever is accepted must be consistent. */
function outcome(bytes: Buffer): boolean {
  try {
    if (bytes.length < 8) return false
    const length = headerLength('fuzz', bytes, bytes.length)
    const { tensors } = parseHeader('fuzz', bytes.subarray(8, 8 + length), bytes.length)
    expect(tensors.every(t => t.begin >= 8 + length && t.end <= bytes.length && t.begin <= t.end)).toBe(true)
    return true
  } catch (error) {
    if (!(error instanceof AnnealError) || error.code !== 'ERR_FORMAT') throw error
    return false
  }
}
