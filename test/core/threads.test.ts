import { getThreads, setThreads } from 'anneal'
import { afterEach, expect, test } from 'vitest'
import { codeOf } from '../support/thrown'

const first = getThreads()
afterEach(() => setThreads(first))

test('the number of threads is what was set last', () => {
  for (const count of [1, 3, 1024]) {
    setThreads(count)
    expect(getThreads()).toBe(count)
  }
})

test.each([0, -1, 1.5, 1025, 100_000, Number.NaN, Infinity, '2', undefined])('%s is no number of threads', count => {
  expect(codeOf(() => setThreads(count as never))).toBe('ERR_VALUE')
  expect(() => setThreads(count as never)).toThrow(`setThreads: expected a whole number from 1 to 1024; got ${count}`)
  expect(getThreads()).toBe(first)
})
