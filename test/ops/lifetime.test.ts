import { memory, synchronize, tensor } from 'anneal'
import { expect, test } from 'vitest'

test('a long loop that awaits only values already there lets the event loop turn, so that finalizers run', async () => {
  let turned = false
  setImmediate(() => {
    turned = true
  })
  const a = tensor([1, 2, 3, 4])
  let c = a
  for (let i = 0; i < 10000; i++) {
    c.dispose()
    c = tensor([i, i])
  }
  expect(await c.data()).toEqual(Float32Array.of(9999, 9999))
  expect(turned).toBe(true)
})

test('memory is reused by size, and counted', async () => {
  const before = memory()
  const made = Array.from({ length: 50 }, (_, i) => tensor(new Float32Array(16 * (i + 1))))
  const during = memory()
  expect(during.blocks - before.blocks).toBe(50)
  expect(during.used - before.used).toBeGreaterThanOrEqual(50 * 51 * 32)
  for (const t of made) t.dispose()
  await synchronize() // a GPU still copies
  expect(memory().used).toBe(before.used)
  const again = Array.from({ length: 50 }, (_, i) => tensor(new Float32Array(16 * (i + 1))))
  expect(memory().allocations).toBe(during.allocations)
  expect(memory().used).toBe(during.used)
  for (const t of again) t.dispose()
})
