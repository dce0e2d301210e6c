// The library as it is built in this repository.
import { createRequire } from 'node:module'

export const anneal = createRequire(import.meta.url)('../dist/index.js')
