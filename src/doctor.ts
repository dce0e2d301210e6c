import { readFileSync, realpathSync } from 'node:fs'
import * as os from 'node:os'
import { basename, join } from 'node:path'
import { describeFailure, findNative, glibcVersion, type NativeReport } from './load'

/** What `npx anneal doctor` prints: names and values, and whether Anneal can be used here. */
export interface Diagnosis {
  readonly facts: Readonly<Record<string, string | readonly string[]>>
  readonly usable: boolean
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`

function readSetting(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** The kernel marks the chosen one of several words by brackets: `always [madvise] never`. */
function hugePages(): string {
  const setting = readSetting('/sys/kernel/mm/transparent_hugepage/enabled')
  return /\[(\w+)\]/.exec(setting ?? '')?.[1] ?? 'unknown'
}

/** The shared libraries mapped into this process now, as real paths, which carry the full version. */
function mappedLibraries(): Set<string> {
  const maps = readSetting('/proc/self/maps') ?? ''
  const paths = Array.from(maps.matchAll(/^(?:\S+\s+){5}(\/.+\.so(?:\.\d+)*)$/gm), match => match[1]!)
  return new Set(paths.map(path => realpathSync(path)))
}

function describeLibrary(path: string): string {
  const version = /\.so\.([\d.]+)$|-r?([\d.]+)\.so$/.exec(basename(path))
  return `${basename(path).replace(/\.so.*/, '')} ${version?.[1] ?? version?.[2] ?? ''} (${path})`.replace('  ', ' ')
}

/** What the core says about itself: SIMD target, mathematical library, threads. */
function describeCore(addon: unknown): string {
  const { doctor } = addon as { doctor: () => Record<string, string> }
  return Object.entries(doctor())
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
}

/** The GPUs and libraries that the CUDA backend found, or why there is none and what to do. */
function describeCuda(addon: unknown): string[] {
  const { doctorCuda } = addon as { doctorCuda: () => Record<string, string> }
  const { problem, ...found } = doctorCuda()
  const facts = Object.entries(found).map(([name, value]) => `${name}: ${value}`)
  return problem === undefined ? facts : [`none: ${problem}`, ...facts]
}

function binaryFacts(report: NativeReport, before: ReadonlySet<string>): Diagnosis['facts'] {
  if ('failure' in report) return { Binary: describeFailure(report.failure).split('\n') }
  const core = describeCore(report.addon)
  // Where the binary was loaded before, its own libraries are known by name.
  const ours = /anneal|dnnl|hwy|gomp|blas|OpenCL/
  const loaded = [...mappedLibraries()].filter(path => !before.has(path) || ours.test(basename(path)))
  return {
    Binary: `${report.path} (${report.source})`,
    Libraries: loaded.length > 0 ? loaded.map(describeLibrary) : "none besides the system's",
    Core: core,
  }
}

/** Looks at the machine, the system and the binary. Loads the binary; never throws. */
export function diagnose(): Diagnosis {
  const { version } = JSON.parse(readFileSync(join(__dirname, '..', 'package.json'), 'utf8')) as { version: string }
  const before = mappedLibraries()
  const report = findNative()
  const cpus = os.cpus()
  const facts = {
    Anneal: version,
    Node: `${process.versions.node} (Node-API ${process.versions.napi})`,
    System: `${process.platform}-${process.arch}, ${os.release()}, glibc ${glibcVersion() ?? 'absent'}`,
    CPU: `${cpus[0]?.model.trim() ?? 'unknown'}, ${cpus.length} logical cores, ${os.availableParallelism()} usable`,
    Memory: `${gibibytes(os.totalmem())}, ${gibibytes(os.freemem())} free`,
    'Huge pages': hugePages(),
    ...binaryFacts(report, before),
    CUDA: 'failure' in report ? 'unknown, without the binary' : describeCuda(report.addon),
  }
  return { facts, usable: !('failure' in report) }
}

/** A diagnosis as aligned lines. */
export function formatDiagnosis({ facts, usable }: Diagnosis): string {
  const width = Math.max(...Object.keys(facts).map(name => name.length)) + 2
  const rows = Object.entries(facts).map(([name, value]) => {
    const lines = typeof value === 'string' ? [value] : value
    return name.padEnd(width) + lines.join(`\n${' '.repeat(width)}`)
  })
  const verdict = usable ? 'Anneal can be used here.' : 'Anneal cannot be used here: see Binary.'
  return [...rows, '', verdict].join('\n')
}
