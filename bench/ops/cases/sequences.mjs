// Attention, recurrent layers; optimizers.
import { createRequire } from 'node:module'
import { both, collect } from './case.mjs'

const anneal = createRequire(import.meta.url)('../../../dist/index.js')
const { randomUniform, optim } = anneal
export const cases = []
const add = collect(cases)

// Attention, recurrent layers
for (const [shape, causal] of [
  [[8, 12, 128, 64], false],
  [[4, 12, 512, 64], true],
]) {
  add(
    `attention [${shape}]${causal ? ' causal' : ''}`,
    { q: shape, k: shape, v: shape },
    ({ q, k, v }) => q.scaledDotProductAttention(k, v, null, { causal }),
    `F.scaled_dot_product_attention(q, k, v, is_causal=${causal ? 'True' : 'False'})`,
    both,
  )
}
for (const [kind, gates] of [
  ['LSTM', 4],
  ['GRU', 3],
]) {
  const inputs = {
    x: [32, 64, 256],
    i: { shape: [gates * 256, 256], low: -0.06, high: 0.06 },
    h: { shape: [gates * 256, 256], low: -0.06, high: 0.06 },
  }
  const states = kind === 'LSTM' ? '(z, z)' : 'z'
  add(
    `${kind} [32,64,256] to 256`,
    inputs,
    ({ x, i, h }) => anneal[kind.toLowerCase()](x, i, h),
    `(lambda z: torch._VF.${kind.toLowerCase()}(x, ${states}, [i, h], False, 1, 0.0, True, False, True)[0])(torch.zeros(1, 32, 256))`,
    both,
  )
}

// Optimizers: one step over the parameters of BERT-base, and over those of a small model
const bert = [
  [30_522, 768],
  [512, 768],
  [2, 768],
  [768],
  [768],
  ...Array(12)
    .fill([
      [768, 768],
      [768],
      [768, 768],
      [768],
      [768, 768],
      [768],
      [768, 768],
      [768],
      [768],
      [768],
      [3072, 768],
      [3072],
      [768, 3072],
      [768],
      [768],
      [768],
    ])
    .flat(),
]
const small = Array(20)
  .fill([[128, 128], [128]])
  .flat()
const parameters = shapes =>
  shapes.map(shape => {
    const p = new anneal.Parameter(randomUniform(shape))
    p.grad = randomUniform(shape)
    return p
  })
for (const [title, shapes] of [
  ['BERT-base', bert],
  ['20×[128,128]', small],
]) {
  for (const [kind, torchOptions] of [
    ['AdamW', ''],
    ['SGD', ', momentum=0.9'],
  ]) {
    add(`${kind} step, ${title}`, {}, (_, optimizer) => optimizer.step(), 'prepared.step()', {
      unequal: true,
      prepare: () => new optim[kind](parameters(shapes), kind === 'SGD' ? { lr: 1e-6, momentum: 0.9 } : { lr: 1e-6 }),
      prepareTorch: `torch.optim.${kind}(parameters(${JSON.stringify(shapes)}), lr=1e-6${torchOptions})`,
    })
  }
}
