// What is measured on a GPU: kernels that memory bounds, of 256 MiB in float32, and products and attention of the sizes of
// language models. `bytes` and `flops` say what a call must move and compute; `fastest` names a choice that PyTorch has: its fastest is taken.
// A rehearsal on the CPU takes small ones.
import { both, collect } from './case.mjs'

const small = Boolean(process.env.BENCH_REHEARSAL)
export const cases = []
const add = collect(cases)
const itemSize = { float32: 4, bfloat16: 2 }

/** A small tensor, repeated along its first axis: large ones would take long to make. */
const large = (shape, dtype) => {
  const tile = shape[0] % 64 === 0 ? 64 : 1
  return { shape: [shape[0] / tile, ...shape.slice(1)], tile, dtype }
}

const [rows, columns] = small ? [64, 64] : [16_384, 4096]
const n = rows * columns

for (const dtype of ['float32', 'bfloat16']) {
  const size = itemSize[dtype]
  const [x, y] = [large([rows, columns], dtype), large([rows, columns], dtype)]
  const each = { shape: [columns], dtype }
  /** Moves `count` times the tensor. */
  const bounded = (name, inputs, anneal, torch, count, more = {}) =>
    add(`${name} ${dtype}`, inputs, anneal, torch, { bytes: count * n * size, dtype, ...more })
  // What others are compared with is the faster one: the driver's copy, or a kernel of ours that reads and writes as much.
  bounded('copy', { x }, ({ x }) => x.neg(), 'x.clone()', 2, { copy: true })
  bounded('add', { x, y }, ({ x, y }) => x.add(y), 'x + y', 3)
  bounded('gelu', { x }, ({ x }) => x.gelu(), 'F.gelu(x)', 2)
  bounded('cast to float64', { x }, ({ x }) => x.cast('float64'), 'x.double()', 1 + 8 / size)
  bounded('transpose', { x }, ({ x }) => x.transpose(0, 1).contiguous(), 'x.T.contiguous()', 2)
  bounded('sum', { x }, ({ x }) => x.sum(), 'x.sum()', 1, { unequal: true })
  bounded('sum of rows', { x }, ({ x }) => x.sum({ axis: 1 }), 'x.sum(1)', 1)
  bounded('sum of columns', { x }, ({ x }) => x.sum({ axis: 0 }), 'x.sum(0)', 1)
  bounded('softmax', { x }, ({ x }) => x.softmax(), 'F.softmax(x, -1)', 2)
  const norm = { x, w: each, b: each }
  bounded('layerNorm', norm, ({ x, w, b }) => x.layerNorm(w, b), `F.layer_norm(x, (${columns},), w, b)`, 2)
  bounded('rmsNorm', { x, w: each }, ({ x, w }) => x.rmsNorm(w), `F.rms_norm(x, (${columns},), w)`, 2)
}

const products = small
  ? [[16, 24, 8]]
  : [
      [1024, 1024, 1024],
      [4096, 4096, 4096],
      [8192, 8192, 8192],
      [65_536, 768, 3072],
      [65_536, 3072, 768],
      [8192, 768, 50_304],
      [16, 4096, 4096],
    ]
for (const dtype of ['float32', 'bfloat16']) {
  for (const [m, k, c] of products) {
    const inputs = { a: large([m, k], dtype), b: { shape: [k, c], dtype } }
    const more = { flops: 2 * m * k * c, dtype, fastest: 'library' }
    add(`matmul [${m},${k}] · [${k},${c}] ${dtype}`, inputs, ({ a, b }) => a.matmul(b), 'a @ b', more)
  }
}

const attentions = small
  ? [[[1, 2, 16, 16], true]]
  : [
      [[16, 12, 1024, 64], true],
      [[4, 16, 4096, 128], true],
      [[64, 12, 128, 64], false],
      [[32, 12, 384, 64], false],
    ]
for (const [shape, causal] of attentions) {
  const [batch, heads, length, width] = shape
  const input = large(shape, 'bfloat16')
  add(
    `attention [${shape}]${causal ? ' causal' : ''} bfloat16`,
    { q: input, k: input, v: input },
    ({ q, k, v }) => q.scaledDotProductAttention(k, v, null, { causal }),
    `F.scaled_dot_product_attention(q, k, v, is_causal=${causal ? 'True' : 'False'})`,
    {
      flops: (4 * batch * heads * length ** 2 * width) / (causal ? 2 : 1),
      dtype: 'bfloat16',
      fastest: 'attention',
      ...both,
    },
  )
}
