import { expect } from 'vitest'
import { testDevice } from './device'

/** What elementwise operations are computed with besides each other, and what of it runs by itself on a GPU. */
const others = /\b(linear|matmul|conv\dd|batchNorm|layerNorm|rmsNorm|normalizeRows\w*|sum|mean|min|max)\b/
const notOnGpus = /\b(linear|matmul|conv\dd|batchNorm)\b/

/** What a GPU's products take over. */
const epilogues = /^(linear|matmul)( add)*( (relu|gelu|reluGrad|geluGrad|geluTanhGrad|sum))?$/

/**
 * What was joined is as expected. A GPU joins elementwise operations with each other, with reductions, with norms and few with
 * products, which come before norms there. `onGpus`: what is joined there, where that is something else.
 */
export function expectJoined(found: readonly string[], expected: readonly string[], onGpus = expected): void {
  if (testDevice === 'cpu') expect(found).toEqual(expected)
  else
    expect(found.filter(operations => others.test(operations) && !epilogues.test(operations))).toEqual(
      onGpus.filter(operations => others.test(operations) && !notOnGpus.test(operations)),
    )
}

/** The same of a list of all operations, where joined ones are written as `fused(add mul)`: their order is the same everywhere. */
export function expectOperations(found: readonly string[], expected: readonly string[]): void {
  const alone = (list: readonly string[]) => list.flatMap(name => name.replace(/^fused\((.*)\)$/, '$1').split(' '))
  if (testDevice === 'cpu') expect(found).toEqual(expected)
  else expect(alone(found)).toEqual(alone(expected))
}
