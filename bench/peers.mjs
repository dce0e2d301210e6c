// Which contenders there are, and how each is started.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Peer } from './peer.mjs'

const at = path => fileURLToPath(new URL(path, import.meta.url))
const python = process.env.PYTHON ?? 'python3'

// Large blocks stay mapped and lie on huge pages: PyTorch's allocations then cost about what Anneal's pool does.
const tunables = [
  'glibc.malloc.hugetlb=1',
  'glibc.malloc.mmap_threshold=1073741824',
  'glibc.malloc.trim_threshold=4294967296',
].join(':')

function tfjs(environment) {
  if (!existsSync(at('node_modules/@tensorflow/tfjs'))) {
    const options = ['--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund', '--silent']
    execFileSync('npm', ['install', '--prefix', at('.'), ...options], { stdio: 'inherit' })
  }
  return new Peer('tfjs', process.execPath, [at('peers/tfjs.mjs')], environment)
}

const starters = {
  anneal: environment => new Peer('anneal', process.execPath, [at('peers/anneal.mjs')], environment),
  torch: environment => new Peer('torch', python, [at('peers/pytorch.py')], environment),
  tunedTorch: environment =>
    new Peer('tunedTorch', python, [at('peers/pytorch.py')], { ...environment, GLIBC_TUNABLES: tunables }),
  tfjs,
  oneDnn: environment => new Peer('oneDnn', at('../build/bench_products'), [], environment),
}

export const titles = {
  anneal: 'Anneal',
  torch: 'PyTorch eager',
  tunedTorch: 'PyTorch eager, huge pages',
  tfjs: 'TensorFlow.js wasm',
  oneDnn: 'oneDNN alone',
}

/** Starts the named peers; says which ones do not start. */
export async function startPeers(names, environment) {
  const peers = []
  for (const name of names) {
    let peer
    try {
      peer = starters[name](environment)
      await peer.start()
      peers.push(peer)
    } catch (error) {
      console.error(`${titles[name]} is left out: ${String(error.message).split('\n')[0]}`)
      await peer?.end()
    }
  }
  return peers
}
