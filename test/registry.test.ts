import { describe, expect, test } from 'vitest'
import { native } from '../src/native'
import { checkCase } from './support/check'
import { goldenCases } from './support/golden'
import { uncovered } from './support/uncovered'

const cases = goldenCases()
const rows = native.schema()

describe('every op agrees with PyTorch, its own gradient and its composition', () => {
  // Internal ops are gradients of others, and are checked with them.
  for (const op of rows.filter(r => !r.internal || cases.has(r.name))) {
    const own = cases.get(op.name)
    test(op.name, async () => {
      if (!own) {
        expect(uncovered, `${op.name}: has neither a golden case nor a reason for having none`).toHaveProperty(op.name)
        return
      }
      expect(uncovered, `${op.name}: has golden cases, so that no reason is needed`).not.toHaveProperty(op.name)
      for (const c of own) await checkCase(op, c)
    })
  }
})

test('every golden case and every exception belongs to an op', () => {
  const names = new Set(rows.map(op => op.name))
  expect([...cases.keys(), ...Object.keys(uncovered)].filter(name => !names.has(name))).toEqual([])
})

test('every op computes on the cpu, and has a gradient or says that it has none', () => {
  for (const op of rows) {
    expect(op.kernels.includes('cpu') || op.lowered, op.name).toBe(true)
    expect(['vjp', 'lower', 'nonDifferentiable'], op.name).toContain(op.gradient)
  }
})
