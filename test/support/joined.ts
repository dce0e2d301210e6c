import { expect } from 'vitest'
import { testDevice } from './device'

/** What only the CPU computes together with its neighbours. */
const others = /\b(linear|matmul|conv\dd|batchNorm|layerNorm|rmsNorm|normalizeRows\w*|sum|mean|min|max)\b/

/** What a GPU's products take over. */
const epilogues = /^(linear|matmul)( add)*( (relu|gelu|reluGrad|geluGrad|geluTanhGrad))?$/

/**
 * What was joined is as expected on the CPU. A GPU joins elementwise operations with each other, and few with products; norms
 * and reductions stand by themselves there.
 */
export function expectJoined(found: readonly string[], expected: readonly string[]): void {
  if (testDevice === 'cpu') expect(found).toEqual(expected)
  else expect(found.filter(operations => others.test(operations) && !epilogues.test(operations))).toEqual([])
}

/** The same of a list of all operations, where joined ones are written as `fused(add mul)`: their order is the same everywhere. */
export function expectOperations(found: readonly string[], expected: readonly string[]): void {
  const alone = (list: readonly string[]) => list.flatMap(name => name.replace(/^fused\((.*)\)$/, '$1').split(' '))
  if (testDevice === 'cpu') expect(found).toEqual(expected)
  else expect(alone(found)).toEqual(alone(expected))
}
