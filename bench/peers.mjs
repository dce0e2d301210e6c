// Which contenders there are, what each can do, and how it is started.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Peer } from './peer.mjs'

const at = path => fileURLToPath(new URL(path, import.meta.url))
export const python = process.env.PYTHON ?? 'python3'

// Large blocks stay mapped and lie on huge pages: PyTorch's allocations then cost about what Anneal's pool does.
const GLIBC_TUNABLES = [
  'glibc.malloc.hugetlb=1',
  'glibc.malloc.mmap_threshold=1073741824',
  'glibc.malloc.trim_threshold=4294967296',
].join(':')
const BENCH_COMPILE = '1'
const BENCH_INT8 = '1'

const node = (file, environment) => ({ command: process.execPath, args: ['--expose-gc', at(file)], environment })
const script = (file, environment) => ({ command: python, args: [at(file)], environment })

function installed() {
  if (existsSync(at('node_modules/@tensorflow/tfjs'))) return
  const options = ['--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund', '--silent']
  execFileSync('npm', ['install', '--prefix', at('.'), ...options], { stdio: 'inherit' })
}

const networks = ({ network }) => Boolean(network)
const inference = ({ network, train, autocast, device }) => Boolean(network) && !train && !autocast && !device
const onCpu = ({ device }) => !device

const contenders = {
  anneal: { title: 'Anneal', ours: true, ...node('peers/anneal.mjs') },
  compiled: { title: 'Anneal compiled', ours: true, does: networks, ...node('peers/anneal.mjs', { BENCH_COMPILE }) },
  compiledInt8: {
    title: 'Anneal compiled int8',
    rounded: true,
    does: ({ int8 }) => Boolean(int8),
    ...node('peers/anneal.mjs', { BENCH_COMPILE, BENCH_INT8 }),
  },
  torch: { title: 'PyTorch', ...script('peers/pytorch.py') },
  tunedTorch: { title: 'PyTorch, huge pages', does: onCpu, ...script('peers/pytorch.py', { GLIBC_TUNABLES }) },
  torchCompile: { title: 'torch.compile', does: networks, ...script('peers/pytorch.py', { BENCH_COMPILE }) },
  tunedTorchCompile: {
    title: 'torch.compile, huge pages',
    does: workload => networks(workload) && onCpu(workload),
    ...script('peers/pytorch.py', { BENCH_COMPILE, GLIBC_TUNABLES }),
  },
  ort: { title: 'onnxruntime', does: inference, ...script('peers/ort.py') },
  tunedOrt: { title: 'onnxruntime, huge pages', does: inference, ...script('peers/ort.py', { GLIBC_TUNABLES }) },
  ortInt8: {
    title: 'onnxruntime int8',
    rounded: true,
    does: ({ int8 }) => Boolean(int8),
    ...script('peers/ort.py', { BENCH_INT8 }),
  },
  tfjs: {
    title: 'TensorFlow.js wasm',
    does: ({ name, device }) =>
      !device && ['add4', 'mm64', 'matmul1024', 'matmul2048', 'tinyMlp', 'mlp', 'cnn'].includes(name),
    prepare: installed,
    ...node('peers/tfjs.mjs'),
  },
  oneDnn: {
    title: 'oneDNN alone',
    ceiling: true,
    does: ({ name, device }) => !device && name.startsWith('matmul'),
    command: at('../build/bench_products'),
    args: [],
  },
}

export const ids = Object.keys(contenders)

/** What is known of a contender: { title, ours, rounded (its results are not float32's), ceiling (no peer, but a limit) }. */
export const contender = id => contenders[id]

/** The named contenders that can do `workload`, not yet started. */
export function peersFor(names, workload, environment) {
  const able = names.filter(name => contenders[name].does?.(workload) ?? true)
  return able.map(name => {
    const { prepare, command, args, environment: own } = contenders[name]
    prepare?.()
    return new Peer(name, command, args, { ...environment, ...own })
  })
}
