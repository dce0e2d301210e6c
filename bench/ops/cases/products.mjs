// Matrix products.
import { both, collect } from './case.mjs'

export const cases = []
const add = collect(cases)

for (const n of [32, 64, 128, 256, 512, 1024])
  add(`matmul ${n}³`, { a: [n, n], b: [n, n] }, ({ a, b }) => a.matmul(b), 'a @ b', n === 512 ? both : {})
for (const [m, k, n] of [
  [1, 768, 3072],
  [8, 768, 768],
  [128, 784, 512],
  [4096, 768, 64],
  [64, 4096, 64],
  [10_000, 64, 10],
  [4096, 64, 4096],
]) {
  add(`matmul [${m},${k}] · [${k},${n}]`, { a: [m, k], b: [k, n] }, ({ a, b }) => a.matmul(b), 'a @ b')
}
add(
  'matmul [512,512] · transposed',
  { a: [512, 512], b: [512, 512] },
  ({ a, b }) => a.matmul(b.transpose(0, 1)),
  'a @ b.T',
)
add(
  'matmul transposed · [512,512]',
  { a: [512, 512], b: [512, 512] },
  ({ a, b }) => a.transpose(0, 1).matmul(b),
  'a.T @ b',
)
add('matrix times vector 4096', { a: [4096, 4096], b: [4096] }, ({ a, b }) => a.matmul(b), 'a @ b')
add('dot 1M', { a: [1_000_000], b: [1_000_000] }, ({ a, b }) => a.matmul(b), 'a @ b')
for (const [n, m, k, c] of [
  [48, 512, 512, 64],
  [48, 512, 64, 512],
  [96, 128, 128, 64],
  [512, 32, 32, 32],
  [64, 1, 64, 256],
]) {
  add(
    `batched matmul ${n}×[${m},${k}]·[${k},${c}]`,
    { a: [n, m, k], b: [n, k, c] },
    ({ a, b }) => a.matmul(b),
    'a @ b',
    m === 512 ? both : {},
  )
}
for (const [m, k, n] of [
  [128, 784, 512],
  [2048, 768, 768],
  [32, 768, 2],
]) {
  add(
    `linear [${m},${k}] to ${n}`,
    { x: [m, k], w: [n, k], b: [n] },
    ({ x, w, b }) => x.linear(w, b),
    'F.linear(x, w, b)',
    both,
  )
}
