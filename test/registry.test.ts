import { describe, expect, test } from 'vitest'
import { native } from '../src/native'
import { checkCase } from './support/check'
import { cudaMissing } from './support/cudaMissing'
import { testDevice } from './support/device'
import { goldenCases } from './support/golden'
import { uncovered } from './support/uncovered'

const cases = goldenCases()
const rows = native.schema()

describe('every op agrees with PyTorch, its own gradient and its composition', () => {
  // Internal ops are gradients of others, and are checked with them.
  for (const op of rows.filter(r => !r.internal || cases.has(r.name))) {
    const own = cases.get(op.name)
    test(op.name, async ({ skip }) => {
      if (!own) {
        expect(uncovered, `${op.name}: has neither a golden case nor a reason for having none`).toHaveProperty(op.name)
        return
      }
      expect(uncovered, `${op.name}: has golden cases, so that no reason is needed`).not.toHaveProperty(op.name)
      try {
        for (const c of own) await checkCase(op, c)
      } catch (error) {
        const lacking = testDevice === 'cpu' ? undefined : notYet.exec((error as Error).message)?.[1]
        if (lacking === undefined || !cudaMissing.includes(lacking)) throw error
        skip(`needs ${lacking}, which has no kernel for CUDA yet`)
      }
    })
  }
})

test('every golden case and every exception belongs to an op', () => {
  const names = new Set(rows.map(op => op.name))
  expect([...cases.keys(), ...Object.keys(uncovered)].filter(name => !names.has(name))).toEqual([])
})

/** What an op needs that has no kernel on the device under test is found when it runs. */
const notYet = /^(\w+): is not available on cuda/

test.skipIf(testDevice === 'cpu')('every op computes on CUDA devices, but for those that are listed', () => {
  const missing = rows.filter(op => !op.kernels.includes('cuda') && !op.lowered).map(op => op.name)
  expect(missing.sort()).toEqual([...cudaMissing].sort())
})

test('every op computes on the cpu, and has a gradient or says that it has none', () => {
  for (const op of rows) {
    expect(op.kernels.includes('cpu') || op.lowered, op.name).toBe(true)
    expect(['vjp', 'lower', 'nonDifferentiable'], op.name).toContain(op.gradient)
  }
})
