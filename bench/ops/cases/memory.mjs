// Indexing, copies, random numbers.
import { createRequire } from 'node:module'
import { both, collect, tag } from './case.mjs'

const anneal = createRequire(import.meta.url)('../../../dist/index.js')
const { concat, stack, randomUniform, randomNormal, truncatedNormal, permutation } = anneal
export const cases = []
const add = collect(cases)

// Indexing, copies
add(
  'embedding 30k×768, 4096 tokens',
  { w: [30_000, 768], i: { shape: [4096], below: 30_000 } },
  ({ w, i }) => anneal.embedding(w, i),
  'F.embedding(i, w)',
)
add(
  'embedding 1000×64, 4096 tokens',
  { w: [1000, 64], i: { shape: [4096], below: 1000 } },
  ({ w, i }) => anneal.embedding(w, i),
  'F.embedding(i, w)',
  both,
)
add(
  'gather [4096,1000] axis 1, 10 each',
  { x: [4096, 1000], i: { shape: [4096, 10], below: 1000 } },
  ({ x, i }) => x.gather(i, 1),
  'x.gather(1, i)',
)
add(
  'scatterAdd [4096,1000] axis 1, 100 each',
  { x: [4096, 1000], i: { shape: [4096, 100], below: 1000 }, s: [4096, 100] },
  ({ x, i, s }) => x.scatterAdd(i, s, 1),
  'x.scatter_add(1, i, s)',
)
add(
  'indexAdd [1000,64], 4096 rows',
  { x: [1000, 64], i: { shape: [4096], below: 1000 }, s: [4096, 64] },
  ({ x, i, s }) => x.indexAdd(i, s, 0),
  'x.index_add(0, i, s)',
)
add(
  'oneHot 4096 of 1000',
  { i: { shape: [4096], below: 1000 } },
  ({ i }) => i.oneHot(1000),
  'F.one_hot(i, 1000).float()',
)
add('sort 100k', { x: [100_000] }, ({ x }) => x.sort(), 'x.sort()')
add('sort [1000,1000]', { x: [1000, 1000] }, ({ x }) => x.sort(), 'x.sort()')
add('argsort [10000,64]', { x: [10_000, 64] }, ({ x }) => x.argsort(), 'x.argsort()')
add('topK 50 of [64,50257]', { x: [64, 50_257] }, ({ x }) => x.topK(50), 'x.topk(50)')
add('topK 5 of [4096,1000]', { x: [4096, 1000] }, ({ x }) => x.topK(5), 'x.topk(5)')
add(
  'concat 2×[4096,384] axis 1',
  { a: [4096, 384], b: [4096, 384] },
  ({ a, b }) => concat([a, b], { axis: 1 }),
  'torch.cat([a, b], 1)',
  both,
)
add('stack 8×100k', { a: [100_000] }, ({ a }) => stack(Array(8).fill(a)), 'torch.stack([a] * 8)')
add(
  'slice copy [4096,256:512] of 768',
  { x: [4096, 768] },
  ({ x }) => x.slice([0, 256], [4096, 512]).contiguous(),
  'x[:, 256:512].contiguous()',
)
add('transpose copy 2048²', { x: [2048, 2048] }, ({ x }) => x.transpose(0, 1).contiguous(), 'x.T.contiguous()')
add(
  'permute copy heads [32,128,12,64]',
  { x: [32, 128, 12, 64] },
  ({ x }) => x.permute([0, 2, 1, 3]).contiguous(),
  'x.permute(0, 2, 1, 3).contiguous()',
)
add(
  'NCHW to NHWC [32,64,56,56]',
  { x: [32, 64, 56, 56] },
  ({ x }) => x.permute([0, 2, 3, 1]).contiguous(),
  'x.permute(0, 2, 3, 1).contiguous()',
)
add(
  'pad NHWC [32,56,56,64] by 1',
  { x: [32, 56, 56, 64] },
  ({ x }) => x.pad([0, 0, 1, 1, 1, 1, 0, 0]),
  'F.pad(x, (0, 0, 1, 1, 1, 1))',
)
add('tril 1024²', { x: [1024, 1024] }, ({ x }) => x.tril(), 'x.tril()')
add('zeros 1M', {}, () => anneal.zeros([1_000_000]), 'torch.zeros(1_000_000)')
add('flip [1000,1000] axis 1', { x: [1000, 1000] }, ({ x }) => x.flip({ axis: 1 }), 'x.flip(1)')
add('maskedFill 1M', { x: [1_000_000] }, ({ x }, c) => x.maskedFill(c, 0), 'x.masked_fill(prepared, 0)', {
  prepare: ({ x }) => x.greater(0),
  prepareTorch: 'x > 0',
})

// Random; nothing to agree on
const random = { unequal: true }
add('dropout 1M', { x: [1_000_000] }, ({ x }) => x.dropout({ p: 0.1 }), 'F.dropout(x, 0.1, True)', {
  ...random,
  ...both,
})
add('randomUniform 1M', {}, () => randomUniform([1_000_000]), 'torch.rand(1_000_000)', random)
add('randomNormal 1M', {}, () => randomNormal([1_000_000]), 'torch.randn(1_000_000)', random)
add(
  'truncatedNormal 1M',
  {},
  () => truncatedNormal([1_000_000]),
  'nn.init.trunc_normal_(torch.empty(1_000_000))',
  random,
)
add('randomInt 1M', {}, () => anneal.randomInt([1_000_000], 0, 1000), 'torch.randint(0, 1000, (1_000_000,))', random)
add(
  'bernoulli 1M',
  {},
  () => anneal.bernoulli([1_000_000], { p: 0.3 }),
  'torch.empty(1_000_000).bernoulli_(0.3)',
  random,
)
for (const n of [1e3, 1e5, 1e6]) add(`permutation ${tag(n)}`, {}, () => permutation(n), `torch.randperm(${n})`, random)
