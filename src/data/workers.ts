import { availableParallelism } from 'node:os'
import { pathToFileURL } from 'node:url'
import { Piscina } from 'piscina'
import { type Generate, mapElements } from './operators'
import { checkCount } from './order'

export interface WorkerMapOptions {
  /** Worker threads, and elements in work at once; by default one less than the processors, at least 1. */
  readonly workers?: number
}

/** A pass of {@link Dataset.mapInWorkers}; the threads live as long as the pass. */
export function workerMap<T, U>(
  generate: Generate<T>,
  file: string | URL,
  { workers = Math.max(1, availableParallelism() - 1) }: WorkerMapOptions,
): Generate<U> {
  checkCount(workers, 1, 'mapInWorkers: workers')
  const filename = (file instanceof URL ? file : pathToFileURL(file)).href
  return async function* (position) {
    const pool = new Piscina({ filename, minThreads: workers, maxThreads: workers, concurrentTasksPerWorker: 1 })
    try {
      const run = (element: T): Promise<U> => pool.run(element)
      yield* mapElements(generate(position), position, run, { concurrency: workers })
    } finally {
      await pool.destroy()
    }
  }
}
