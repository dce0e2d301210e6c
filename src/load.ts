import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import bindings from 'bindings'
import { AnnealError } from './errors'
import type { NativeAddon } from './native'

/** Where a native binary may come from, in the order in which they are tried. */
export type NativeSource = 'ANNEAL_NATIVE_PATH' | 'local build' | 'platform package'

/** What {@link findNative} found: the loaded addon and its file, or why there is none. */
export type NativeReport =
  | { readonly addon: unknown; readonly source: NativeSource; readonly path: string }
  | { readonly failure: NativeFailure }

/** Why a binary could not be loaded: what was tried, what went wrong and what to do. */
export interface NativeFailure {
  readonly source: NativeSource
  readonly path: string
  readonly cause: string
  readonly remedy: string
  readonly error?: unknown
}

/** The surroundings that decide which binary is loaded; tests replace them. */
export interface NativeSurroundings {
  readonly explicitPath: string | undefined
  /** The folder that holds Anneal's package.json. */
  readonly root: string
  readonly platform: string
  /** The system's glibc version; undefined where there is none (musl, other systems). Asked only after a failure. */
  readonly glibc: () => string | undefined
}

/** The platforms for which a package with a prebuilt binary is published. */
const prebuiltPlatforms: readonly string[] = ['linux-x64']

/** How to get another binary in place of one that does not load. */
const reinstall: Record<NativeSource, string> = {
  ANNEAL_NATIVE_PATH: 'point the variable at an anneal.node built for this system',
  'local build': 'remove the build folder and run npm run build',
  'platform package': 'remove node_modules and run npm ci',
}

/** Where the package with the CUDA backend has it, or what is wrong with that package; both empty: it is not installed. */
export function findCudaPackage({ root, platform }: Pick<NativeSurroundings, 'root' | 'platform'> = here): {
  path: string
  problem: string
} {
  const name = `@anneal/${platform}-cuda13`
  const require = createRequire(join(root, 'package.json'))
  let description: string
  try {
    description = require.resolve(`${name}/package.json`)
  } catch {
    return { path: '', problem: '' }
  }
  const [version, own] = [versionOf(description), versionOf(join(root, 'package.json'))]
  if (version === own) return { path: join(dirname(description), 'libanneal_cuda.so'), problem: '' }
  const problem = `${name} is version ${version}, but anneal is version ${own}; install the same version: npm install ${name}@${own}`
  return { path: '', problem }
}

/** The version of glibc that this process runs on, or undefined where the C library is another. */
export function glibcVersion(): string | undefined {
  // Without this the report looks up the host names of open sockets, which can take seconds.
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean }
  report.excludeNetwork = true
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime
}

const here: NativeSurroundings = {
  explicitPath: process.env.ANNEAL_NATIVE_PATH,
  root: dirname(__dirname),
  platform: `${process.platform}-${process.arch}`,
  glibc: glibcVersion,
}

function versionOf(packageJson: string): string {
  return (JSON.parse(readFileSync(packageJson, 'utf8')) as { version: string }).version
}

/** Finds and loads the native addon; reports a failure instead of throwing. */
export function findNative(surroundings: NativeSurroundings = here): NativeReport {
  const { explicitPath, root } = surroundings
  const require = createRequire(join(root, 'package.json'))
  if (explicitPath) {
    const path = resolve(explicitPath)
    return attempt('ANNEAL_NATIVE_PATH', path, surroundings, () => require(path))
  }
  const local = join(root, 'build', 'Release', 'anneal.node')
  // Only a checkout has CMakeLists.txt; in an installed package the search below it would be in vain.
  if (existsSync(join(root, 'CMakeLists.txt')) && existsSync(local)) {
    const options = { bindings: 'anneal', module_root: root, try: [['module_root', 'build', 'Release', 'bindings']] }
    return attempt('local build', local, surroundings, () => bindings(options))
  }
  return findPrebuilt(surroundings, require)
}

function findPrebuilt(surroundings: NativeSurroundings, require: NodeJS.Require): NativeReport {
  const { platform, root } = surroundings
  const name = `@anneal/${platform}`
  const source = 'platform package'
  let path: string
  let version: string
  try {
    path = require.resolve(`${name}/anneal.node`)
    version = versionOf(require.resolve(`${name}/package.json`))
  } catch (error) {
    return { failure: { source, path: name, error, ...adviceOnMissing(surroundings) } }
  }
  const own = versionOf(join(root, 'package.json'))
  if (version !== own) {
    const cause = `${name} is version ${version}, but anneal is version ${own}`
    return { failure: { source, path, cause, remedy: `install the same version: npm install ${name}@${own}` } }
  }
  return attempt(source, path, surroundings, () => require(path))
}

/**
 * Loads with a limit on how long OpenMP's threads spin while they wait for each other. With libgomp's own, some
 * milliseconds, a step takes a hundred times as long as soon as other programs want the cores too. libgomp reads the
 * variable once, when it is loaded; what the user has set is left alone.
 */
function withBriefSpinning<T>(load: () => T): T {
  const { env } = process
  if (env.GOMP_SPINCOUNT !== undefined || env.OMP_WAIT_POLICY !== undefined) return load()
  env.GOMP_SPINCOUNT = '10000'
  try {
    return load()
  } finally {
    delete env.GOMP_SPINCOUNT
  }
}

function attempt(
  source: NativeSource,
  path: string,
  surroundings: NativeSurroundings,
  load: () => unknown,
): NativeReport {
  // Node would run a file of another name as JavaScript.
  if (!existsSync(path) || !path.endsWith('.node')) {
    const cause = existsSync(path) ? 'the name of a binary ends in .node' : 'there is no such file'
    return { failure: { source, path, cause, remedy: 'correct the variable, or unset it to use the installed binary' } }
  }
  try {
    const addon = withBriefSpinning(load)
    if (typeof (addon as { schema?: unknown }).schema === 'function') {
      const { path: library, problem } = findCudaPackage(surroundings)
      ;(addon as Pick<NativeAddon, 'offerCudaLibrary'>).offerCudaLibrary(library, problem)
      return { addon, source, path }
    }
    return { failure: { source, path, cause: "the file is another program's addon", remedy: reinstall[source] } }
  } catch (error) {
    return { failure: { source, path, error, ...adviceOnUnfit(source, error, surroundings) } }
  }
}

type Advice = Pick<NativeFailure, 'cause' | 'remedy'>

function adviceOnMissing({ platform, root, glibc }: NativeSurroundings): Advice {
  const name = `@anneal/${platform}`
  if (existsSync(join(root, 'CMakeLists.txt'))) {
    return { cause: 'the native code of this checkout is not built', remedy: 'build it: npm run build' }
  }
  if (!prebuiltPlatforms.includes(platform)) {
    const cause = `there is no prebuilt binary for ${platform}, only for ${prebuiltPlatforms.join(', ')}`
    return { cause, remedy: 'build from a source checkout (docs/install.md) and set ANNEAL_NATIVE_PATH' }
  }
  if (!glibc()) {
    const cause = 'this system has no glibc (musl, as on Alpine), which the prebuilt binary needs'
    return { cause, remedy: 'use an image with glibc, such as node:22-slim' }
  }
  return {
    cause: `the package ${name} is not installed: npm left out optional dependencies (--omit=optional, --no-optional), or node_modules was copied from another platform`,
    remedy: `npm install --include=optional, or npm install ${name}@${versionOf(join(root, 'package.json'))}`,
  }
}

/** Reads the dynamic loader's message. */
function adviceOnUnfit(source: NativeSource, error: unknown, { glibc }: NativeSurroundings): Advice {
  const message = error instanceof Error ? error.message : String(error)
  if (message.includes('libc.musl') || message.includes('ld-linux') || /relocating.*not found/.test(message)) {
    return { cause: 'the binary needs glibc, and this system has musl', remedy: 'use an image with glibc' }
  }
  const needed = /version [`'](GLIBC|GLIBCXX|CXXABI)_([\d.]+)' not found/.exec(message)
  if (needed?.[1] === 'GLIBC') {
    const cause = `the binary needs glibc ${needed[2]} or later, and this system has ${glibc() ?? 'none'}`
    return { cause, remedy: 'use a newer system, or build from source on this one (docs/install.md)' }
  }
  if (needed) {
    const cause = `the binary needs a newer libstdc++ (${needed[1]}_${needed[2]})`
    return { cause, remedy: 'update libstdc++6, or build from source on this system (docs/install.md)' }
  }
  const library = /(\S+): cannot open shared object file/.exec(message)
  if (library) return { cause: `the library ${library[1]} is missing`, remedy: reinstall[source] }
  if (message.includes('did not self-register')) {
    return { cause: 'the file is a library, but not an addon for Node.js', remedy: reinstall[source] }
  }
  if (/invalid ELF header|file too short|wrong ELF class|ELF load command|cannot read file data/.test(message)) {
    return { cause: 'the file is damaged or built for another system', remedy: reinstall[source] }
  }
  return { cause: message, remedy: reinstall[source] }
}

/** The text of the one error that a missing or unfit binary gives. */
export function describeFailure({ source, path, cause, remedy, error }: NativeFailure): string {
  const lines = [
    `native: cannot load Anneal's binary: ${cause}`,
    `  tried: ${path} (${source}), on Node ${process.versions.node}, ${process.platform}-${process.arch}`,
  ]
  const detail = error instanceof Error ? error.message.split('\n')[0] : undefined
  if (detail && detail !== cause) lines.push(`  loader: ${detail}`)
  lines.push(`  remedy: ${remedy}`, '  `npx anneal doctor` shows more')
  return lines.join('\n')
}

/**
 * Loads the native addon.
 *
 * @throws AnnealError `ERR_NATIVE` with the cause and the remedy when there is no binary that fits
 */
export function loadNative(): unknown {
  if (Number.parseInt(process.versions.node, 10) < 20) {
    throw new AnnealError('ERR_NATIVE', `native: Node ${process.versions.node} is too old: install 20 or later`)
  }
  const report = findNative()
  if ('failure' in report) {
    throw new AnnealError('ERR_NATIVE', describeFailure(report.failure), { cause: report.failure.error })
  }
  return report.addon
}
