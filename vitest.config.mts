import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const src = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^anneal$/, replacement: src('index.ts') },
      { find: /^anneal\/(.+)$/, replacement: src('$1/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/package/**'],
    // All tests compute where ANNEAL_TEST_DEVICE says: see docs/cuda.md.
    setupFiles: [
      ...(process.env.ANNEAL_TEST_DEVICE ? ['test/support/device.ts'] : []),
      ...(process.env.ANNEAL_TEST_JOURNAL ? ['test/support/journal.ts'] : []),
    ],
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
