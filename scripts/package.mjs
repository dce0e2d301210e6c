// Makes build/packages/anneal-*.tgz (TypeScript compiled) and build/packages/anneal-linux-x64-*.tgz (the native files
// and every shared library that a bare system with glibc and Node lacks), and of the CUDA backend if build-cuda/ has
// it, or the library that --cuda PATH names. Wants a finished build; see scripts/run.
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
import { parseArgs } from 'node:util'

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
    // Installed by whoever has a GPU; named here, so that it is found in the layouts of pnpm and Yarn too.
    peerDependencies: { [`@anneal/${platform}-cuda13`]: root.version },
    peerDependenciesMeta: { [`@anneal/${platform}-cuda13`]: { optional: true } },
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

/** The GPUs that a library has code for, as cuobjdump names them; none where that tool is not there. */
function architecturesOf(library) {
  try {
    const list = run('cuobjdump', '--list-elf', '--list-ptx', library)
    return [...new Set(list.match(/\bsm_\d+[a-f]?\.(?:cubin|ptx)/g))].sort()
  } catch {
    return []
  }
}

/** The CUDA backend, where it has been built: it finds the core, which is loaded before it, by its name. */
function makeCuda(library) {
  if (!existsSync(library)) return console.log(`no CUDA package: there is no ${library}`)
  const folder = join(output, `${platform}-cuda13`)
  mkdirSync(folder)
  const copy = join(folder, 'libanneal_cuda.so')
  copyFileSync(library, copy)
  run('strip', '--strip-unneeded', copy)
  run('patchelf', '--force-rpath', '--set-rpath', '$ORIGIN', copy)
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
    anneal: { architectures: architecturesOf(library), ...floorsOf([copy]) },
  })
  const text = `# @anneal/${platform}-cuda13

${description}.
Anneal loads it when a device 'cuda' is asked for; nothing needs to be imported from here. \`npx anneal doctor\` says
whether the driver and NVIDIA's libraries are found. Those for matrix products and convolutions are not on npm:

    pip install nvidia-cublas nvidia-cudnn-cu13
`
  writeFileSync(join(folder, 'README.md'), text)
  pack(folder)
}

const { values: options } = parseArgs({
  options: { cuda: { type: 'string', default: 'build-cuda/libanneal_cuda.so' } },
})

rmSync(output, { recursive: true, force: true })
mkdirSync(output, { recursive: true })
makeMain()
makePlatform()
makeCuda(options.cuda)
