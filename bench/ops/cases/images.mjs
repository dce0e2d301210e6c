// Convolutions and pools.
import { both, collect } from './case.mjs'

export const cases = []
const add = collect(cases)

for (const [n, s, c, o, k, stride, groups] of [
  [8, 224, 3, 64, 7, 2, 1],
  [8, 56, 64, 64, 3, 1, 1],
  [8, 28, 128, 128, 3, 1, 1],
  [8, 14, 256, 256, 3, 1, 1],
  [8, 7, 512, 512, 3, 1, 1],
  [8, 56, 128, 128, 3, 2, 1],
  [8, 56, 64, 256, 1, 1, 1],
  [8, 56, 256, 64, 1, 1, 1],
  [8, 14, 1024, 256, 1, 1, 1],
  [8, 56, 256, 512, 1, 2, 1],
  [8, 56, 128, 128, 3, 1, 128],
  [64, 28, 1, 32, 3, 1, 1],
]) {
  const padding = k >> 1
  add(
    `conv ${k}×${k}${groups > 1 ? ' depthwise' : ''}, stride ${stride}, [${n},${s},${s},${c}] to ${o}`,
    { x: { images: [n, s, s, c] }, w: { kernels: [o, k, k, c / groups] } },
    ({ x, w }) => x.conv2d(w, null, { stride, padding, groups }),
    `F.conv2d(x, w, None, ${stride}, ${padding}, 1, ${groups})`,
    both,
  )
}
add(
  'conv1d [16,512,64] to 128, 5 wide',
  { x: [16, 512, 64], w: [128, 5, 64] },
  ({ x, w }) => x.conv1d(w, null, { padding: 2 }),
  'F.conv1d(x.transpose(1, 2), w.transpose(1, 2), None, 1, 2)',
  both,
)
add(
  'convTranspose 4×4, stride 2, [8,16,16,128] to 64',
  { x: { images: [8, 16, 16, 128] }, w: { kernels: [128, 4, 4, 64] } },
  ({ x, w }) => x.convTranspose2d(w, null, { stride: 2, padding: 1 }),
  'F.conv_transpose2d(x, w, None, 2, 1)',
  both,
)
add(
  'maxPool 3×3, stride 2, NHWC [8,112,112,64]',
  { x: { images: [8, 112, 112, 64] } },
  ({ x }) => x.maxPool2d(3, { stride: 2, padding: 1 }),
  'F.max_pool2d(x, 3, 2, 1)',
  both,
)
add(
  'maxPool 2×2, NHWC [64,28,28,32]',
  { x: { images: [64, 28, 28, 32] } },
  ({ x }) => x.maxPool2d(2),
  'F.max_pool2d(x, 2)',
  both,
)
add(
  'averagePool 2×2, NHWC [32,56,56,64]',
  { x: { images: [32, 56, 56, 64] } },
  ({ x }) => x.averagePool2d(2),
  'F.avg_pool2d(x, 2)',
  both,
)
add(
  'globalAveragePool NHWC [32,7,7,2048]',
  { x: { images: [32, 7, 7, 2048] } },
  ({ x }) => x.globalAveragePool(),
  'x.mean((2, 3))',
  both,
)
add(
  'resize bilinear ×2, NHWC [8,64,64,32]',
  { x: { images: [8, 64, 64, 32] } },
  ({ x }) => x.resize({ size: [128, 128], mode: 'linear' }),
  "F.interpolate(x, (128, 128), mode='bilinear')",
  both,
)
