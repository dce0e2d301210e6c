import { createReadStream } from 'node:fs'
import { StringDecoder } from 'node:string_decoder'
import { asIoError } from '../io/files'
import { Dataset } from './dataset'
import { formatError } from './files'
import { seekable } from './operators'

export interface JsonLinesOptions {
  /** Characters that a line may have before it is taken for a broken file; default 64 Mi. */
  readonly maxLineLength?: number
}

/**
 * A stream over a JSON Lines file: one JSON value on each line, UTF-8; blank lines are passed over. It holds one line
 * and one 64 KiB block of the file.
 *
 * @throws AnnealError while reading: `ERR_IO`; `ERR_FORMAT` naming file and line, or where the file has no value.
 */
export function fromJsonLines<T = unknown>(path: string, options: JsonLinesOptions = {}): Dataset<T> {
  const { maxLineLength = 64 * 2 ** 20 } = options
  return new Dataset<T>(seekable(() => parseLines<T>(path, maxLineLength)))
}

async function* parseLines<T>(path: string, maxLineLength: number): AsyncGenerator<T, void> {
  let number = 0
  let found = false
  for await (const line of readLines(path, maxLineLength)) {
    number++
    if (line.trim() === '') continue
    found = true
    yield parse(line, path, number)
  }
  if (!found) throw formatError(`${path}: expected JSON Lines, got a file without a value`)
}

function parse<T>(line: string, path: string, number: number): T {
  try {
    return JSON.parse(line)
  } catch (cause) {
    const start = line.length > 60 ? `${line.slice(0, 60)}…` : line
    throw formatError(
      `${path}:${number}: expected one JSON value on the line, got ${start}: ${(cause as Error).message}`,
      {
        cause,
      },
    )
  }
}

// node:readline also ends lines at U+2028 and U+2029, which JSON allows within strings.
async function* readLines(path: string, maxLineLength: number): AsyncGenerator<string, void> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  const stream = createReadStream(path)
  try {
    for await (const chunk of stream) {
      const lines = decoder.write(chunk).split('\n')
      lines[0] = rest + lines[0]!
      rest = lines.pop()!
      if (lines.some(line => line.length > maxLineLength) || rest.length > maxLineLength) {
        throw formatError(`${path}: a line is longer than ${maxLineLength} characters`)
      }
      yield* lines.map(withoutMark)
    }
  } catch (error) {
    throw asIoError('read', path, error)
  } finally {
    stream.destroy()
  }
  rest += decoder.end()
  if (rest !== '') yield withoutMark(rest)
}

/** Without the byte order mark that some programs write first. */
function withoutMark(line: string): string {
  return line.charCodeAt(0) === 0xfeff ? line.slice(1) : line
}
