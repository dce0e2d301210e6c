// Reductions and scans.
import { collect, tag } from './case.mjs'

export const cases = []
const add = collect(cases)

for (const [fn, torch] of [
  ['sum', axis => `x.sum(${axis})`],
  ['max', axis => `x.amax(${axis})`],
  ['mean', axis => `x.mean(${axis})`],
  ['argmax', axis => `x.argmax(${axis})`],
]) {
  for (const [shape, axis] of [
    [[100_000, 10], 1],
    [[10_000, 64], 1],
    [[4096, 768], 1],
    [[100, 100_000], 1],
    [[4096, 768], 0],
    [[64, 196, 768], 1],
  ]) {
    add(`${fn} [${shape}] axis ${axis}`, { x: shape }, ({ x }) => x[fn]({ axis }), torch(axis))
  }
}
for (const n of [1e3, 1e5, 1e6, 1e7]) add(`sum ${tag(n)}`, { x: [n] }, ({ x }) => x.sum(), 'x.sum()')
add('max 1M', { x: [1_000_000] }, ({ x }) => x.max(), 'x.max()')
add('argmax 1M', { x: [1_000_000] }, ({ x }) => x.argmax(), 'x.argmax()')
add('std [4096,768] axis 1', { x: [4096, 768] }, ({ x }) => x.std({ axis: 1 }), 'x.std(1)')
add('norm 1M', { x: [1_000_000] }, ({ x }) => x.norm(), 'x.norm()')
add('prod [10000,64] axis 1', { x: [10_000, 64] }, ({ x }) => x.prod({ axis: 1 }), 'x.prod(1)')
add('logSumExp [4096,1000] axis 1', { x: [4096, 1000] }, ({ x }) => x.logSumExp({ axis: 1 }), 'x.logsumexp(1)')
add(
  'sum, NHWC [32,56,56,64] over N, H, W',
  { x: [32, 56, 56, 64] },
  ({ x }) => x.sum({ axis: [0, 1, 2] }),
  'x.sum((0, 1, 2))',
)
add('cumsum [4096,768] axis 1', { x: [4096, 768] }, ({ x }) => x.cumsum(1), 'x.cumsum(1)')
