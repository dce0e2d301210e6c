// Elementwise ops.
import { both, collect, positive, tag, wide } from './case.mjs'

export const cases = []
const add = collect(cases)

const unaries = {
  neg: {},
  exp: {},
  log: positive,
  log1p: positive,
  log2: positive,
  exp2: {},
  expm1: {},
  sqrt: positive,
  rsqrt: positive,
  sin: wide,
  cos: wide,
  tan: wide,
  atan: wide,
  asin: {},
  sinh: {},
  tanh: wide,
  erf: wide,
  erfinv: { low: -0.99, high: 0.99 },
  floor: wide,
  abs: {},
}
for (const [fn, range] of Object.entries(unaries)) {
  for (const n of fn === 'exp' || fn === 'neg' ? [1e3, 1e5, 1e7] : [1e5])
    add(
      `${fn} ${tag(n)}`,
      { x: { shape: [n], ...range } },
      ({ x }) => x[fn](),
      `torch.${fn === 'erfinv' ? 'erfinv' : fn}(x)`,
    )
}
const activations = {
  relu: 'F.relu(x)',
  sigmoid: 'torch.sigmoid(x)',
  silu: 'F.silu(x)',
  gelu: 'F.gelu(x)',
  softplus: 'F.softplus(x)',
  logSigmoid: 'F.logsigmoid(x)',
  mish: 'F.mish(x)',
  elu: 'F.elu(x)',
  hardSwish: 'F.hardswish(x)',
}
for (const [fn, torch] of Object.entries(activations)) {
  add(`${fn} 100k`, { x: { shape: [100_000], low: -4, high: 4 } }, ({ x }) => x[fn](), torch, both)
}
add(
  'gelu tanh 1M',
  { x: { shape: [1_000_000], low: -4, high: 4 } },
  ({ x }) => x.gelu({ approximate: 'tanh' }),
  "F.gelu(x, approximate='tanh')",
  both,
)
for (const n of [1e3, 1e5, 1e7]) {
  add(`add ${tag(n)}`, { a: [n], b: [n] }, ({ a, b }) => a.add(b), 'a + b')
  add(`mul by a number ${tag(n)}`, { a: [n] }, ({ a }) => a.mul(2.5), 'a * 2.5')
}
add('div 100k', { a: [100_000], b: { shape: [100_000], ...positive } }, ({ a, b }) => a.div(b), 'a / b', both)
add('pow 100k', { a: { shape: [100_000], ...positive }, b: [100_000] }, ({ a, b }) => a.pow(b), 'a ** b', both)
add('pow by 3 100k', { a: [100_000] }, ({ a }) => a.pow(3), 'a ** 3')
add('pow by 0.7 100k', { a: { shape: [100_000], ...positive } }, ({ a }) => a.pow(0.7), 'a ** 0.7')
add('atan2 100k', { a: [100_000], b: [100_000] }, ({ a, b }) => a.atan2(b), 'torch.atan2(a, b)')
add(
  'fmod 100k',
  { a: { shape: [100_000], ...wide }, b: { shape: [100_000], ...positive } },
  ({ a, b }) => a.fmod(b),
  'torch.fmod(a, b)',
)
add(
  'floorDiv 100k',
  { a: { shape: [100_000], ...wide }, b: { shape: [100_000], ...positive } },
  ({ a, b }) => a.floorDiv(b),
  'torch.floor_divide(a, b)',
)
add('maximum 100k', { a: [100_000], b: [100_000] }, ({ a, b }) => a.maximum(b), 'torch.maximum(a, b)')
add('greater 1M', { a: [1_000_000], b: [1_000_000] }, ({ a, b }) => a.greater(b), 'a > b')
add('where 1M', { a: [1_000_000], b: [1_000_000] }, ({ a, b }, c) => c.where(a, b), 'torch.where(prepared, a, b)', {
  prepare: ({ a, b }) => a.greater(b),
  prepareTorch: 'a > b',
})
add('clamp 1M', { a: [1_000_000] }, ({ a }) => a.clamp({ min: -0.5, max: 0.5 }), 'a.clamp(-0.5, 0.5)')
add('add [4096,768] + [768]', { a: [4096, 768], b: [768] }, ({ a, b }) => a.add(b), 'a + b', both)
add('mul [4096,768] · [4096,1]', { a: [4096, 768], b: [4096, 1] }, ({ a, b }) => a.mul(b), 'a * b', both)
add(
  'add [1024,1024] + transposed',
  { a: [1024, 1024], b: [1024, 1024] },
  ({ a, b }) => a.add(b.transpose(0, 1)),
  'a + b.T',
)
add('cast 1M to bfloat16', { a: [1_000_000] }, ({ a }) => a.cast('bfloat16'), 'a.bfloat16()')
add('cast 1M to int64', { a: [1_000_000] }, ({ a }) => a.cast('int64'), 'a.long()')
