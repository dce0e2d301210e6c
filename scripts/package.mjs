// Makes build/packages/anneal-*.tgz (TypeScript compiled) and build/packages/anneal-linux-x64-*.tgz (the native files
// and every shared library that a bare system with glibc and Node lacks), and of the CUDA backend if build-cuda/ has
// it. Wants a finished build; see scripts/run.
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'

const output = 'build/packages'
const native = 'build/Release'
const platform = 'linux-x64'
const root = JSON.parse(readFileSync('package.json', 'utf8'))

// What every system with glibc has, and libstdc++ with libgcc_s, which node itself links: a second copy beside
// the one that node has loaded already would never be used.
const ofTheSystem = /^(linux-vdso|ld-linux|libc\.|libm\.|libdl\.|libpthread\.|librt\.|libstdc\+\+\.|libgcc_s\.)/

const run = (command, ...args) => execFileSync(command, args, { encoding: 'utf8' })

function writeJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)
}

/** The libraries that `files` need, however indirectly: soname → path. */
function librariesOf(files) {
  const found = new Map()
  for (const line of files.flatMap(file => run('ldd', file).split('\n'))) {
    const [, name, path] = /^\s*(\S+) => (\S.*?)(?: \(0x|$)/.exec(line) ?? []
    if (!name || ofTheSystem.test(name) || existsSync(join(native, name))) continue
    if (!path.startsWith('/')) throw new Error(`${name} is needed, but it was not found on this system`)
    found.set(name, realpathSync(path))
  }
  return found
}

/** The Debian package that owns a file. Files below /usr/lib may be listed below /lib, its other name. */
function ownerOf(path) {
  for (const name of [path, path.replace(/^\/usr/, ''), `/usr${path}`]) {
    try {
      return run('dpkg-query', '-S', name).split(':')[0]
    } catch {
      // not under this name
    }
  }
  throw new Error(`no Debian package owns ${path}: its licence is unknown`)
}

function copyLicences(libraries, folder) {
  mkdirSync(folder)
  // Highway's and node-addon-api's headers are compiled in.
  const owners = new Set([...[...libraries.values()].map(ownerOf), 'libhwy-dev'])
  for (const owner of owners) copyFileSync(`/usr/share/doc/${owner}/copyright`, join(folder, `${owner}.txt`))
  copyFileSync('node_modules/node-addon-api/LICENSE.md', join(folder, 'node-addon-api.txt'))
  return [...owners]
}

/** The newest versions of glibc's and libstdc++'s symbols that `files` ask for. */
function floorsOf(files) {
  const symbols = files.map(file => run('objdump', '-p', file)).join('')
  const newest = prefix => {
    const versions = new Set(
      Array.from(symbols.matchAll(new RegExp(`\\b${prefix}_(\\d[\\d.]*)`, 'g')), match => match[1]),
    )
    return [...versions].sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
  }
  return { glibc: newest('GLIBC'), glibcxx: newest('GLIBCXX') }
}

function pack(folder) {
  const name = run('npm', 'pack', '--ignore-scripts', '--silent', '--pack-destination', output, `./${folder}`).trim()
  console.log(join(output, basename(name)))
}

function makeMain() {
  const folder = join(output, 'anneal')
  mkdirSync(folder)
  cpSync('dist', join(folder, 'dist'), { recursive: true, filter: path => !path.endsWith('.tsbuildinfo') })
  for (const file of ['README.md', 'LICENSE']) copyFileSync(file, join(folder, file))
  const { scripts, devDependencies, binary, ...published } = root
  writeJson(join(folder, 'package.json'), {
    ...published,
    optionalDependencies: { [`@anneal/${platform}`]: root.version },
  })
  pack(folder)
}

function makePlatform() {
  const folder = join(output, platform)
  mkdirSync(folder)
  const own = readdirSync(native).filter(name => name === 'anneal.node' || /^libanneal.*\.so$/.test(name))
  const libraries = librariesOf(own.map(name => join(native, name)))
  for (const name of own) copyFileSync(join(native, name), join(folder, name))
  for (const [name, path] of libraries) copyFileSync(path, join(folder, name))
  const files = [...own, ...libraries.keys()].map(name => join(folder, name))
  for (const file of files) {
    run('strip', '--strip-unneeded', file)
    // An RPATH, unlike a RUNPATH, goes before LD_LIBRARY_PATH: the libraries that were tested are the ones that run.
    run('patchelf', '--force-rpath', '--set-rpath', '$ORIGIN', file)
  }
  const owners = copyLicences(libraries, join(folder, 'licenses'))
  copyFileSync('LICENSE', join(folder, 'LICENSE'))
  const floors = floorsOf(files)
  writePlatformTexts(folder, [...libraries.keys()], owners, floors)
  pack(folder)
  console.log(`bundled: ${[...libraries.keys()].join(', ')}`)
  console.log(`needs glibc ${floors.glibc} and libstdc++ GLIBCXX_${floors.glibcxx} or later`)
}

function writePlatformTexts(folder, libraries, owners, floors) {
  const description = `Anneal's native library for Linux on x86-64 with glibc ${floors.glibc} or later`
  writeJson(join(folder, 'package.json'), {
    name: `@anneal/${platform}`,
    version: root.version,
    description,
    license: root.license,
    main: 'anneal.node',
    engines: root.engines,
    os: ['linux'],
    cpu: ['x64'],
    libc: ['glibc'],
    anneal: floors,
  })
  const text = `# @anneal/${platform}

${description}, and libstdc++ with GLIBCXX_${floors.glibcxx} or later.
It is installed by the package \`anneal\`; nothing needs to be imported from here.

Bundled libraries: ${libraries.join(', ')}. The licences of what is bundled or compiled in lie in \`licenses/\`:
${[...owners, 'node-addon-api'].join(', ')}.
`
  writeFileSync(join(folder, 'README.md'), text)
}

/** The CUDA backend, where it has been built: it finds the core, which is loaded before it, by its name. */
function makeCuda() {
  const library = 'build-cuda/libanneal_cuda.so'
  if (!existsSync(library)) return console.log('no CUDA package: build-cuda/ holds no libanneal_cuda.so')
  const folder = join(output, `${platform}-cuda13`)
  mkdirSync(folder)
  const copy = join(folder, basename(library))
  copyFileSync(library, copy)
  run('strip', '--strip-unneeded', copy)
  copyFileSync('LICENSE', join(folder, 'LICENSE'))
  const description = "Anneal's CUDA backend, for NVIDIA GPUs from Ampere on and drivers of CUDA 13 (580 or later)"
  writeJson(join(folder, 'package.json'), {
    name: `@anneal/${platform}-cuda13`,
    version: root.version,
    description,
    license: root.license,
    engines: root.engines,
    os: ['linux'],
    cpu: ['x64'],
    libc: ['glibc'],
    peerDependencies: { [`@anneal/${platform}`]: root.version },
  })
  writeFileSync(
    join(folder, 'README.md'),
    `# @anneal/${platform}-cuda13\n\n${description}. Anneal loads it when a device 'cuda' is asked for.\n`,
  )
  pack(folder)
}

rmSync(output, { recursive: true, force: true })
mkdirSync(output, { recursive: true })
makeMain()
makePlatform()
makeCuda()
