import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { describeFailure, findCudaPackage, findNative, glibcVersion, type NativeSurroundings } from '../../src/load'

const folder = mkdtempSync(join(tmpdir(), 'anneal-load-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** An installed package without a binary: a folder with a package.json and nothing else. */
function surroundings(changes: Partial<NativeSurroundings> = {}): NativeSurroundings {
  const root = mkdtempSync(join(folder, 'root-'))
  writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'anneal', version: '1.2.3' }))
  return { explicitPath: undefined, root, platform: 'linux-x64', glibc: () => '2.36', ...changes }
}

function installPlatformPackage(root: string, version: string): string {
  const path = join(root, 'node_modules', '@anneal', 'linux-x64')
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'package.json'), JSON.stringify({ name: '@anneal/linux-x64', version }))
  return join(path, 'anneal.node')
}

function failureOf(changes: NativeSurroundings) {
  const report = findNative(changes)
  if (!('failure' in report)) throw new Error(`${report.path} was loaded`)
  return report.failure
}

/** A shared library that is surely there: the C library's mathematics. */
function systemLibrary(): string {
  const { sharedObjects } = process.report.getReport() as unknown as { sharedObjects: string[] }
  const path = sharedObjects.find(name => /\/libm\.so\.6$/.test(name))
  if (!path) throw new Error('libm is not loaded')
  return path
}

describe('findNative', () => {
  it('names the package and the way to install it when nothing is installed', () => {
    const failure = failureOf(surroundings())
    expect(failure.source).toBe('platform package')
    expect(failure.cause).toContain('@anneal/linux-x64 is not installed')
    expect(failure.remedy).toContain('npm install @anneal/linux-x64@1.2.3')
  })

  it('says which platforms have a binary', () => {
    const failure = failureOf(surroundings({ platform: 'aix-ppc64' }))
    expect(failure.cause).toBe('there is no prebuilt binary for aix-ppc64, only for linux-x64')
    expect(failure.remedy).toContain('ANNEAL_NATIVE_PATH')
  })

  it('recognises musl', () => {
    expect(failureOf(surroundings({ glibc: () => undefined })).cause).toContain('musl')
  })

  it('tells a checkout to build', () => {
    const checkout = surroundings()
    writeFileSync(join(checkout.root, 'CMakeLists.txt'), '')
    expect(failureOf(checkout).remedy).toBe('build it: npm run build')
  })

  it('does not fall back when ANNEAL_NATIVE_PATH names no file', () => {
    const failure = failureOf(surroundings({ explicitPath: join(folder, 'absent.node') }))
    expect(failure).toMatchObject({ source: 'ANNEAL_NATIVE_PATH', cause: 'there is no such file' })
  })

  it('recognises a damaged file in each place', () => {
    const explicitPath = join(folder, 'text.node')
    writeFileSync(explicitPath, 'This is not a library, however long the text may be. '.repeat(100))
    expect(failureOf(surroundings({ explicitPath })).cause).toContain('damaged')

    const installed = surroundings()
    writeFileSync(installPlatformPackage(installed.root, '1.2.3'), '')
    const failure = failureOf(installed)
    expect(failure.cause).toContain('damaged')
    expect(failure.remedy).toContain('npm ci')

    const checkout = surroundings()
    writeFileSync(join(checkout.root, 'CMakeLists.txt'), '')
    mkdirSync(join(checkout.root, 'build', 'Release'), { recursive: true })
    copyFileSync(explicitPath, join(checkout.root, 'build', 'Release', 'anneal.node'))
    expect(failureOf(checkout)).toMatchObject({ source: 'local build', cause: expect.stringContaining('damaged') })
  })

  it('recognises a library that is no addon', () => {
    const explicitPath = join(folder, 'library.node')
    copyFileSync(systemLibrary(), explicitPath)
    expect(failureOf(surroundings({ explicitPath })).cause).toContain('not an addon')
  })

  it("recognises another program's addon", () => {
    // Vite's bundler is one.
    const explicitPath = createRequire(__filename).resolve('@rolldown/binding-linux-x64-gnu')
    expect(failureOf(surroundings({ explicitPath })).cause).toContain("another program's addon")
  })

  it('names the glibc that is needed and the one that is there', () => {
    const explicitPath = join(folder, 'newer.node')
    const bytes = readFileSync(systemLibrary())
    bytes.write('GLIBC_9.9.9', bytes.indexOf('GLIBC_2.2.5\0'))
    writeFileSync(explicitPath, bytes)
    expect(failureOf(surroundings({ explicitPath })).cause).toBe(
      'the binary needs glibc 9.9.9 or later, and this system has 2.36',
    )
  })

  it('refuses a binary of another version', () => {
    const installed = surroundings()
    installPlatformPackage(installed.root, '1.0.0')
    // The file itself is looked for first.
    writeFileSync(join(installed.root, 'node_modules', '@anneal', 'linux-x64', 'anneal.node'), '')
    const failure = failureOf(installed)
    expect(failure.cause).toBe('@anneal/linux-x64 is version 1.0.0, but anneal is version 1.2.3')
  })

  it('loads the built addon', () => {
    const root = join(__dirname, '..', '..')
    const report = findNative(surroundings({ root, explicitPath: process.env.ANNEAL_NATIVE_PATH }))
    expect(report).toMatchObject({ path: expect.stringMatching(/anneal\.node$/), addon: expect.anything() })
  })
})

describe('describeFailure', () => {
  it('gives cause, place, loader message and remedy in one text', () => {
    const explicitPath = join(folder, 'empty.node')
    writeFileSync(explicitPath, '')
    const text = describeFailure(failureOf(surroundings({ explicitPath })))
    expect(text).toMatch(/^native: cannot load Anneal's binary: the file is damaged/)
    expect(text).toContain(`tried: ${explicitPath} (ANNEAL_NATIVE_PATH)`)
    expect(text).toContain('loader: ')
    expect(text).toContain('remedy: point the variable at')
  })
})

it('glibcVersion is a version on this kind of system, or undefined', () => {
  const version = glibcVersion()
  if (version !== undefined) expect(version).toMatch(/^\d+\.\d+/)
})

describe('findCudaPackage', () => {
  function installCudaPackage(root: string, version: string): string {
    const path = join(root, 'node_modules', '@anneal', 'linux-x64-cuda13')
    mkdirSync(path, { recursive: true })
    writeFileSync(join(path, 'package.json'), JSON.stringify({ name: '@anneal/linux-x64-cuda13', version }))
    return path
  }

  it('gives nothing where it is not installed', () => {
    expect(findCudaPackage(surroundings())).toEqual({ path: '', problem: '' })
  })

  it('finds the library of the same version', () => {
    const given = surroundings()
    const path = installCudaPackage(given.root, '1.2.3')
    expect(findCudaPackage(given)).toEqual({ path: join(path, 'libanneal_cuda.so'), problem: '' })
  })

  it('refuses another version', () => {
    const given = surroundings()
    installCudaPackage(given.root, '1.2.4')
    const { path, problem } = findCudaPackage(given)
    expect(path).toBe('')
    expect(problem).toMatch(/is version 1\.2\.4, but anneal is version 1\.2\.3.*npm install .*cuda13@1\.2\.3/)
  })
})
