import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { type BareSystem, createBareSystem, installNode } from './bare-system'

const repository = join(__dirname, '..', '..')
const packages = join(repository, 'build', 'packages')
const work = join(repository, 'build', 'package-test')
const majors = [20, 22, 24]
const nodes = new Map(majors.map(major => [major, installNode(major, join(work, 'nodes'))]))
const programs = ['train.cjs', 'train.mjs', 'strict.cjs', 'strict.mjs']
const ownLibraries = /\/app\/node_modules\/@anneal\/linux-x64\/[^/]+$/
const systemLibraries =
  /\/(ld-linux-x86-64\.so\.2|lib(c|m|dl|pthread|rt|atomic)\.so\.\d|libstdc\+\+\.so\.6|libgcc_s\.so\.1)$/

const cudaPackage = '@anneal/linux-x64-cuda13'
const hasCuda = existsSync(join(packages, 'linux-x64-cuda13'))

let system: BareSystem
let app: string

function readJson(...path: string[]) {
  return JSON.parse(readFileSync(join(...path), 'utf8'))
}

function tarballs(folder: string): string[] {
  return readdirSync(folder)
    .filter(name => name.endsWith('.tgz'))
    .map(name => join(folder, name))
}

/** Packs what Anneal depends on at run time from this checkout, so that nothing is downloaded. */
function packDependencies(folder: string): string[] {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const locked = readJson(repository, 'package-lock.json').packages as Record<string, { dev?: true; optional?: true }>
  const paths = Object.entries(locked)
    .filter(([path, { dev, optional }]) => path !== '' && !dev && !optional)
    .map(([path]) => `./${path}`)
  const options = ['--ignore-scripts', '--silent', '--pack-destination', folder]
  execFileSync('npm', ['pack', ...options, ...paths], { cwd: repository })
  return tarballs(folder)
}

function installPackages(): void {
  writeFileSync(join(app, 'package.json'), '{ "private": true }\n')
  const options = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--cache', join(work, 'cache')]
  const files = [...tarballs(packages), ...packDependencies(join(work, 'dependencies'))]
  execFileSync('npm', ['install', ...options, ...files], { cwd: app })
}

/** Compiles the TypeScript programs against the installed package's declarations, which are checked too. */
function compilePrograms(): void {
  cpSync(join(__dirname, 'programs'), app, { recursive: true })
  copyFileSync(join(app, 'strict.mts'), join(app, 'strict.cts'))
  const compiler = join(repository, 'node_modules', 'typescript', 'bin', 'tsc')
  const types = ['--typeRoots', join(repository, 'node_modules', '@types')]
  execFileSync(process.execPath, [compiler, '-p', app, ...types], { stdio: 'inherit' })
}

beforeAll(() => {
  system = createBareSystem(join(work, 'root'), nodes)
  app = join(system.root, 'app')
  installPackages()
  compilePrograms()
})

describe('the packages', () => {
  const folders = ['anneal', '@anneal/linux-x64', ...(hasCuda ? [cudaPackage] : [])]

  it.each(folders)('%s has neither lifecycle scripts nor development dependencies', name => {
    const description = readJson(app, 'node_modules', name, 'package.json')
    expect(description).not.toHaveProperty('scripts')
    expect(description).not.toHaveProperty('devDependencies')
    expect(description.dependencies ?? {}).not.toHaveProperty('node-addon-api')
  })

  it('tie the binary to the same version, platform and C library', () => {
    const main = readJson(app, 'node_modules', 'anneal', 'package.json')
    const platform = readJson(app, 'node_modules', '@anneal/linux-x64', 'package.json')
    expect(main.optionalDependencies).toEqual({ '@anneal/linux-x64': platform.version })
    expect(platform).toMatchObject({ os: ['linux'], cpu: ['x64'], libc: ['glibc'] })
    expect(platform.anneal.glibc).toMatch(/^2\.\d+$/)
  })

  it('carry the licences of what is bundled', () => {
    const folder = join(app, 'node_modules', '@anneal', 'linux-x64')
    const licences = readdirSync(join(folder, 'licenses')).join()
    for (const library of ['dnnl', 'gomp', 'hwy', 'node-addon-api']) expect(licences).toContain(library)
  })
})

/** Runs without a package. */
function without<R>(name: string, run: () => R): R {
  const folder = join(app, 'node_modules', name)
  renameSync(folder, join(app, 'node_modules', 'away'))
  try {
    return run()
  } finally {
    renameSync(join(app, 'node_modules', 'away'), folder)
  }
}

interface Report {
  automatic: string
  sum?: number
  error?: { code: string; message: string }
  CUDA: string[]
}

/** What the program that asks for a GPU reports. */
function askForGpu(): Report {
  const { status, stdout, stderr } = system.run(`/node-${majors[0]}`, ['/app/device.cjs'])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return JSON.parse(stdout.split('\n').find(line => line.startsWith('{'))!)
}

describe('CUDA', () => {
  it('names the package where it is not installed, and the CPU serves', () => {
    const report = hasCuda ? without(cudaPackage, askForGpu) : askForGpu()
    expect(report.automatic).toBe('cpu')
    expect(report.error).toMatchObject({ code: 'ERR_DEVICE' })
    expect(report.error!.message).toContain(`npm install ${cudaPackage}`)
    expect(report.CUDA).toEqual([expect.stringMatching(/^none: .*npm install/)])
  })

  it.runIf(hasCuda)('is found in its package, and says what is missing or computes', () => {
    const report = askForGpu()
    expect(report.CUDA.join('\n')).toContain('linux-x64-cuda13/libanneal_cuda.so')
    expect(report.CUDA.join('\n')).toMatch(/cuBLASLt: .*\n.*cuDNN/)
    if (report.error) {
      expect(report.automatic).toBe('cpu')
      expect(report.error.code).toBe('ERR_DEVICE')
      expect(report.error.message).toMatch(/^device 'cuda' is not available: .*(install|update|see whether)/)
      expect(report.CUDA[0]).toMatch(/^none: /)
    } else {
      expect(report).toMatchObject({ automatic: 'cuda:0', sum: 9 })
    }
  })

  it.runIf(hasCuda)('of another version is refused, with the remedy', () => {
    const file = join(app, 'node_modules', cudaPackage, 'package.json')
    const text = readFileSync(file, 'utf8')
    writeFileSync(file, JSON.stringify({ ...JSON.parse(text), version: '99.0.0' }))
    const { error } = askForGpu()
    writeFileSync(file, text)
    expect(error?.message).toMatch(/is version 99\.0\.0, but anneal is .* npm install @anneal\/linux-x64-cuda13@/)
  })
})

describe.each(majors)('on Node %i, without compiler and oneDNN', major => {
  it.each(programs)('%s trains and predicts', program => {
    const { status, stdout, stderr } = system.run(`/node-${major}`, [join('/app', program)])
    expect(stderr).toBe('')
    expect(status).toBe(0)
    const result = JSON.parse(stdout)
    expect(result.node).toBe(major)
    expect(result.lastLoss).toBeLessThan(result.firstLoss / 10)
    expect(result.predictions).toHaveLength(2)
    expect(Math.abs(result.predictions[0] - 7)).toBeLessThan(0.3)
    expect(Math.abs(result.predictions[1] + 5)).toBeLessThan(0.3)
    const foreign = (result.libraries as string[]).filter(
      path => !ownLibraries.test(path) && !systemLibraries.test(path),
    )
    expect(foreign).toEqual([])
    expect(result.libraries).toContainEqual(expect.stringMatching(/linux-x64\/libdnnl\.so\.2$/))
  })

  it('doctor finds the binary', () => {
    const { status, stdout } = system.run(`/node-${major}`, ['/app/node_modules/anneal/dist/cli.js', 'doctor'])
    expect(stdout).toContain('/app/node_modules/@anneal/linux-x64/anneal.node (platform package)')
    expect(status).toBe(0)
  })

  it('says what to do when the optional package was left out', () => {
    const { status, stderr } = without('@anneal', () => system.run(`/node-${major}`, ['/app/train.cjs']))
    expect(status).not.toBe(0)
    expect(stderr).toContain("code: 'ERR_NATIVE'")
    expect(stderr).toMatch(/remedy: npm install --include=optional, or npm install @anneal\/linux-x64@/)
  })
})
