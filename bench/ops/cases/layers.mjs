// Softmax, losses, normalisations.
import { both, collect, positive } from './case.mjs'

export const cases = []
const add = collect(cases)

// Softmax, losses
for (const shape of [
  [128, 10],
  [4096, 128],
  [4096, 1000],
  [16, 50_257],
]) {
  add(`softmax [${shape}]`, { x: shape }, ({ x }) => x.softmax(), 'F.softmax(x, -1)', both)
}
add('softmax [64,128,196] axis 1', { x: [64, 128, 196] }, ({ x }) => x.softmax({ axis: 1 }), 'F.softmax(x, 1)')
add('logSoftmax [4096,1000]', { x: [4096, 1000] }, ({ x }) => x.logSoftmax(), 'F.log_softmax(x, -1)', both)
for (const [n, c] of [
  [128, 10],
  [1024, 1000],
  [256, 50_257],
]) {
  add(
    `crossEntropy [${n},${c}]`,
    { x: [n, c], t: { shape: [n], below: c } },
    ({ x, t }) => x.crossEntropy(t),
    'F.cross_entropy(x, t)',
    both,
  )
}
add('mseLoss 1M', { x: [1_000_000], t: [1_000_000] }, ({ x, t }) => x.mseLoss(t), 'F.mse_loss(x, t)', both)
add(
  'binaryCrossEntropyWithLogits 1M',
  { x: [1_000_000], t: { shape: [1_000_000], low: 0, high: 1 } },
  ({ x, t }) => x.binaryCrossEntropyWithLogits(t.detach()),
  'F.binary_cross_entropy_with_logits(x, t.detach())',
  both,
)

// Normalisations
for (const shape of [
  [4096, 768],
  [32, 128],
  [16384, 64],
]) {
  const c = shape.at(-1)
  add(
    `layerNorm [${shape}]`,
    { x: shape, w: [c], b: [c] },
    ({ x, w, b }) => x.layerNorm(w, b),
    `F.layer_norm(x, (${c},), w, b)`,
    both,
  )
}
add('rmsNorm [4096,768]', { x: [4096, 768], w: [768] }, ({ x, w }) => x.rmsNorm(w), 'F.rms_norm(x, (768,), w)', both)
for (const [n, s, c] of [
  [32, 56, 64],
  [32, 14, 1024],
  [8, 112, 64],
]) {
  add(
    `batchNorm training NHWC [${n},${s},${s},${c}]`,
    { x: { images: [n, s, s, c] }, w: [c], b: [c] },
    ({ x, w, b }) => x.batchNormTrain(w, b),
    'F.batch_norm(x, None, None, w, b, True)',
    both,
  )
}
add(
  'batchNorm inference NHWC [32,56,56,64]',
  { x: { images: [32, 56, 56, 64] }, m: [64], v: { shape: [64], ...positive }, w: [64], b: [64] },
  ({ x, m, v, w, b }) => x.batchNorm(m, v, w, b),
  'F.batch_norm(x, m, v, w, b)',
)
add(
  'groupNorm NHWC [16,32,32,128]',
  { x: { images: [16, 32, 32, 128] }, w: [128], b: [128] },
  ({ x, w, b }) => x.groupNorm(32, w, b),
  'F.group_norm(x, 32, w, b)',
  both,
)
