import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { diagnose, formatDiagnosis } from '../../src/doctor'

const cli = join(__dirname, '..', '..', 'dist', 'cli.js')

function anneal(args: string[], env: NodeJS.ProcessEnv = {}) {
  return spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8', env: { ...process.env, ...env } })
}

describe('diagnose', () => {
  it('finds the binary and what it says about itself', () => {
    const { facts, usable } = diagnose()
    expect(usable).toBe(true)
    expect(facts.Binary).toMatch(/anneal\.node \((local build|ANNEAL_NATIVE_PATH)\)$/)
    expect(facts.Core).toMatch(/simd \w+, math \S+/)
    expect(facts.Node).toContain(process.versions.node)
    expect(facts.Memory).toMatch(/^\d+\.\d GiB, \d+\.\d GiB free$/)
    expect(String(facts.CUDA)).toMatch(/^none: .+; |hardware: /)
  })

  it('is printed with one column of names and one of values', () => {
    const lines = formatDiagnosis({ facts: { A: 'one', Longer: ['two', 'three'] }, usable: false }).split('\n')
    expect(lines).toEqual([
      'A       one',
      'Longer  two',
      '        three',
      '',
      expect.stringContaining('cannot be used'),
    ])
  })
})

describe('anneal doctor', () => {
  it('prints the libraries that the binary brought, and ends with 0', () => {
    const { status, stdout } = anneal(['doctor', '--json'])
    expect(status).toBe(0)
    const { facts } = JSON.parse(stdout)
    expect(facts.Libraries.join()).toMatch(/libanneal \(\/.*libhwy|libhwy [\d.]+ \(\/.*libanneal/)
  })

  it('explains an unusable binary, and ends with 1', () => {
    const { status, stdout } = anneal(['doctor'], { ANNEAL_NATIVE_PATH: cli })
    expect(status).toBe(1)
    expect(stdout).toContain('Anneal cannot be used here')
    expect(stdout).toContain(`tried: ${cli} (ANNEAL_NATIVE_PATH)`)
  })

  it.each([[[]], [['physician']], [['doctor', '--loud']]])('refuses %j with its usage and status 2', args => {
    const { status, stderr } = anneal(args)
    expect(status).toBe(2)
    expect(stderr).toContain('Usage: anneal doctor')
  })
})
