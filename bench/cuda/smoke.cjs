// node smoke.cjs [--json FILE] [--here]: a little of each kind of kernel, with sizes that leave remainders, on the GPU and on the CPU: whether a
// GPU works at all, and for compute-sanitizer, under which all is slow. Says of everything that fails or differs why. Where a part ends
// the process, hangs, or leaves the GPU unusable, what comes after it runs in a new process; with --here all is in this one.
const { spawnSync } = require('node:child_process')
const { existsSync, readFileSync, writeFileSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { parseArgs } = require('node:util')
const anneal = require('../../dist')

const { compile, concat, gradients, losses, nn, optim, randomNormal, tensor } = anneal

const indices = (values, shape = [values.length]) => tensor(values, { dtype: 'int64', shape })
const normal = (shape, dtype = 'float32') => randomNormal(shape).cast(dtype).detach()

const index = () => indices([3, 0, 36, 3])
const single = {
  map: x => x.mul(2).add(1).gelu(),
  strided: x => x.transpose(0, 1).exp(),
  broadcast: x => x.add(x.sum({ axis: 1, keepDims: true })),
  copy: x => x.transpose(0, 1).contiguous(),
  'cast bfloat16': x => x.cast('bfloat16').cast('float64').cast('float16'),
  rows: x => x.sum({ axis: 1 }),
  columns: x => x.var({ axis: 0 }),
  whole: x => x.max(),
  large: () => anneal.randomUniform([300001]).mean(),
  place: x => x.argmax({ axis: 1 }),
  softmax: x => x.softmax(),
  product: x => anneal.linear(x, randomNormal([29, 65])),
  'product bfloat16': x => anneal.linear(x.cast('bfloat16'), normal([29, 65], 'bfloat16')),
  'product bfloat16 of tensor cores': () => normal([96, 64], 'bfloat16').matmul(normal([64, 128], 'bfloat16')),
  gathered: x => x.indexSelect(index(), 0),
  added: x => anneal.zerosLike(x).indexAdd(index(), x.slice([0], [4]), 0),
  joined: x => concat([x, x], { axis: 0 }),
  sorted: x => x.sort()[0],
  summed: x => x.cumsum(1),
  permutation: () => anneal.permutation(1001),
}

/** The result of a function and its gradients. */
function both(inputs, f) {
  for (const x of inputs) x.requireGrad()
  const y = f(...inputs)
  return [y, ...gradients([y.cast('float32').square().sum()], inputs)]
}

/** What cuDNN is to compute, where it can be had. */
const ofLibrary = 'attention by cuDNN'
const attention = process.env.ANNEAL_CUDA_ATTENTION ?? ''

const describeAttention = () => anneal.doctor().facts.CUDA.find(line => line.startsWith('attention: '))
const plannedAttention = () => Number(/(\d+) of \d+ problems/.exec(describeAttention())?.[1] ?? 0)

/** Forward and backward passes of what has kernels of its own for both. */
const differentiated = {
  attention: dtype =>
    both(
      [1, 2, 3].map(() => normal([2, 3, 33, 32], dtype)),
      (q, k, v) => q.scaledDotProductAttention(k, v, null, { causal: true }),
    ),
  'attention of depth 64': dtype =>
    both(
      [1, 2, 3].map(() => normal([1, 2, 200, 64], dtype)),
      (q, k, v) => q.scaledDotProductAttention(k, v),
    ),
  [ofLibrary]: dtype =>
    both(
      [6, 2, 2].map(heads => normal([2, 200, heads, 64], dtype)),
      (...leaves) => {
        const [q, k, v] = leaves.map(x => x.permute([0, 2, 1, 3]))
        return q.scaledDotProductAttention(k, v, null, { causal: true })
      },
    ),
  'layer norm': dtype =>
    both([normal([19, 129], dtype), normal([129], dtype), normal([129], dtype)], (x, w, b) => x.layerNorm(w, b)),
  convolution: dtype =>
    both([normal([2, 9, 11, 5], dtype), normal([7, 3, 3, 5], dtype)], (x, w) => x.conv2d(w, null, { padding: 1 })),
  'convolution of 64 channels': dtype =>
    both([normal([4, 16, 16, 64], dtype), normal([64, 3, 3, 64], dtype)], (x, w) => x.conv2d(w, null, { padding: 1 })),
  'cross-entropy': dtype =>
    both([normal([13, 1027], dtype)], x => x.crossEntropy(indices(Array.from({ length: 13 }, (_, i) => 70 * i)))),
}

/** The losses of some steps of training, call by call or captured. */
function trained(way) {
  const model = new nn.Sequential(new nn.Linear(17, 33), new nn.BatchNorm1d(33), new nn.ReLU(), new nn.Linear(33, 3))
  const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 })
  const step = way((x, y) => {
    const loss = losses.crossEntropy(model.forward(x), y)
    loss.backward()
    optim.clipGradNorm(model.parameters(), 1)
    optimizer.step()
    optimizer.zeroGrad()
    return loss
  })
  return Array.from({ length: 4 }, (_, i) => step(randomNormal([21, 17]), indices(Array(21).fill(i % 3))))
}

/** What is tried, by name: functions that give tensors. */
const parts = Object.fromEntries([
  ...Object.entries(single).map(([name, f]) => [name, () => [f(randomNormal([37, 65]))]]),
  ...['float32', 'bfloat16'].flatMap(dtype =>
    Object.entries(differentiated).map(([name, f]) => [`${name} ${dtype}`, () => f(dtype)]),
  ),
  ['training, call by call', () => trained(step => step)],
  ['training, captured', () => trained(compile)],
])

async function values(make, device) {
  anneal.setDevice(device)
  anneal.manualSeed(1)
  const results = []
  for (const result of make()) results.push(Array.from(await result.data(), Number))
  return results
}

/** Fails where a part gives something else than on the CPU. */
async function check(name) {
  const byLibrary = name === `${ofLibrary} bfloat16`
  process.env.ANNEAL_CUDA_ATTENTION = byLibrary ? 'cudnn' : attention
  const before = plannedAttention()
  const found = await values(parts[name], 'cuda')
  if (byLibrary && !describeAttention().includes('without cuDNN') && plannedAttention() < before + 2)
    throw new Error(`cuDNN has no plan for it; ${describeAttention()}`)
  const expected = await values(parts[name], 'cpu')
  const tolerance = name.includes('bfloat16') ? 3e-2 : 2e-3
  for (const [i, right] of expected.entries()) {
    const largest = right.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
    const far = right.map((v, k) => Math.abs(v - found[i][k]))
    const wrong = far.filter(distance => !(distance <= tolerance * largest)).length
    if (wrong === 0) continue
    const most = far.reduce((a, b) => Math.max(a, b), 0)
    throw new Error(
      `result ${i}: ${wrong} of ${right.length} values differ from the CPU's, by up to ${most} of ${largest}`,
    )
  }
}

async function usable() {
  try {
    anneal.setDevice('cuda')
    return (await anneal.ones([1]).add(1).data())[0] === 2
  } catch {
    return false
  }
}

/** Runs these parts one after the other, and notes what comes of each, also while it runs, until the GPU is unusable. */
async function runHere(names, note) {
  for (const name of names) {
    note(name, 'did not end')
    try {
      await check(name)
      note(name, 'passed')
    } catch (error) {
      note(name, error.message)
      if (await usable()) continue
      note(name, `${error.message} (the GPU was unusable afterwards)`)
      return
    }
  }
}

/** The same in processes, as many as it takes. */
function runApart(file) {
  const most = 20
  writeFileSync(file, '{}\n')
  const known = () => JSON.parse(readFileSync(file, 'utf8'))
  for (let i = 0; i < most; i++) {
    const before = Object.keys(known()).length
    const options = { stdio: ['ignore', 'inherit', 'pipe'], encoding: 'utf8', timeout: 300_000, killSignal: 'SIGKILL' }
    const { status, signal, error, stderr } = spawnSync(
      process.execPath,
      [__filename, '--here', '--json', file],
      options,
    )
    process.stderr.write(stderr)
    const found = known()
    const last = Object.keys(found).at(-1)
    if (status !== 0 && (last === undefined || found[last] === 'did not end')) {
      const how = error?.code === 'ETIMEDOUT' ? 'no end after 300 s' : `the process ended (${signal ?? status})`
      found[last ?? 'start'] = `${how}: ${stderr.trim().split('\n').slice(-3).join('; ')}`
      writeFileSync(file, `${JSON.stringify(found, null, 1)}\n`)
    }
    if (Object.keys(found).length === before) break
    if (Object.keys(parts).every(name => name in found)) break
  }
  return known()
}

async function main() {
  const { values: options } = parseArgs({ options: { json: { type: 'string' }, here: { type: 'boolean' } } })
  const file = options.json ?? join(tmpdir(), `anneal-smoke-${process.pid}.json`)
  if (options.here) {
    const found = options.json && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
    const note = (name, what) => {
      found[name] = what
      writeFileSync(file, `${JSON.stringify(found, null, 1)}\n`)
    }
    await runHere(
      Object.keys(parts).filter(name => !(name in found)),
      note,
    )
    if (options.json) return
    report(found)
  } else report(runApart(file))
}

function report(found) {
  const failures = Object.entries(found).filter(([, what]) => what !== 'passed')
  for (const [name, what] of failures) console.log(`${name}: ${what}`)
  const missing = Object.keys(parts).filter(name => !(name in found))
  if (missing.length) console.log(`not run: ${missing.join(', ')}`)
  console.log(`${Object.keys(parts).length} parts, ${failures.length} failed, ${missing.length} not run`)
  process.exitCode = failures.length || missing.length ? 1 : 0
}

main()
