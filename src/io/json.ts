import { AnnealError } from '../errors'
import { isPlainObject } from '../objects'

/** Plain data: what a checkpoint's state may hold. Besides JSON: NaN, infinities, -0 and bigint, all kept exactly. */
export type Plain =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Plain[]
  | { readonly [key: string]: Plain | undefined }

// JSON has no NaN, infinity, negative zero or bigint; a resume that is to continue bit for bit needs them (an early
// stopping's best value starts at Infinity, a generator's counter is a bigint), so they are written as tagged objects.
const tag = '$anneal'

/**
 * Text of `value` from which {@link decodePlain} gives back exactly the same data.
 * Throws ERR_VALUE, naming the place, for anything that is not plain data (functions, class instances, cycles).
 */
export function encodePlain(value: Plain, what = 'value'): string {
  return JSON.stringify(toJson(value, what, new Set()), null, 1)
}

/** The data that {@link encodePlain} wrote. Throws SyntaxError for text that is not JSON. */
export function decodePlain(text: string): Plain {
  return JSON.parse(text, (_key, value) => {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, tag)) return value
    const text = String(value[tag])
    return text.endsWith('n') ? BigInt(text.slice(0, -1)) : Number(text)
  })
}

function toJson(value: unknown, path: string, above: Set<unknown>): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'bigint') return { [tag]: `${value}n` }
  if (typeof value === 'number') {
    if (Object.is(value, -0)) return { [tag]: '-0' }
    return Number.isFinite(value) ? value : { [tag]: String(value) }
  }
  if (!Array.isArray(value) && !isPlainObject(value)) {
    throw new AnnealError('ERR_VALUE', `checkpoint: ${path}: expected plain JSON data, got ${describe(value)}`)
  }
  if (above.has(value)) throw new AnnealError('ERR_VALUE', `checkpoint: ${path}: expected plain JSON data, got a cycle`)
  above.add(value)
  const json = Array.isArray(value)
    ? value.map((item, index) => toJson(item, `${path}[${index}]`, above))
    : objectToJson(value, path, above)
  above.delete(value)
  return json
}

function objectToJson(value: Record<string, unknown>, path: string, above: Set<unknown>): unknown {
  if (Object.hasOwn(value, tag)) {
    throw new AnnealError('ERR_VALUE', `checkpoint: ${path}: the key ${tag} is reserved; rename it`)
  }
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(entries.map(([key, item]) => [key, toJson(item, `${path}.${key}`, above)]))
}

function describe(value: unknown): string {
  return typeof value === 'object' ? `a ${value?.constructor?.name ?? 'object'}` : `${typeof value}`
}

/**
 * The first object key that `json` holds twice in one object, or undefined. `json` must be valid JSON:
 * JSON.parse keeps the last of two equal keys in silence, so this reads the text itself.
 */
export function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [] // the keys seen in each open object; undefined for an open array
  let expectKey = false
  for (let at = 0; at < json.length; at++) {
    const char = json[at]
    if (char === '{' || char === '[') {
      open.push(char === '{' ? new Set() : undefined)
      expectKey = char === '{'
    } else if (char === '}' || char === ']') {
      open.pop()
      expectKey = false
    } else if (char === ',') {
      expectKey = open.at(-1) !== undefined
    } else if (char === '"') {
      const end = stringEnd(json, at)
      if (expectKey) {
        const key = JSON.parse(json.slice(at, end + 1)) as string
        const keys = open.at(-1) as Set<string>
        if (keys.has(key)) return key
        keys.add(key)
        expectKey = false
      }
      at = end
    }
  }
  return undefined
}

/** The index of the quote that closes the string opening at `start`. */
function stringEnd(json: string, start: number): number {
  let end = start + 1
  while (json[end] !== '"') end += json[end] === '\\' ? 2 : 1
  return end
}
