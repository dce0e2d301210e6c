// What the networks cost at least: floating-point operations of matrix products, convolutions and attention, and the bytes
// of parameters that a step must read and write.

const product = (rows, inputs, outputs) => 2 * rows * inputs * outputs

/** A forward pass of `layers` encoder layers: projections (4 size²), feed-forward network (8 size²) and attention. */
function encoder({ batch, sequence, layers }, size, visible) {
  const attention = 4 * batch * sequence * sequence * size * visible
  return layers * (12 * product(batch * sequence, size, size) + attention)
}

function bottlenecks(inputs, width, count, resolution, stride) {
  const [before, after] = [resolution ** 2, (resolution / stride) ** 2]
  const first =
    product(before, inputs, width) + product(after, 9 * width, width) + product(after, width + inputs, 4 * width)
  return first + (count - 1) * (2 * product(after, 4 * width, width) + product(after, 9 * width, width))
}

const resnetStem = product(112 ** 2, 147, 64)
const resnetRest =
  bottlenecks(64, 64, 3, 56, 1) +
  bottlenecks(256, 128, 4, 56, 2) +
  bottlenecks(512, 256, 6, 28, 2) +
  bottlenecks(1024, 512, 3, 14, 2) +
  product(1, 2048, 1000)

/** Operations of a forward pass: those on the inputs, which need no gradient of their own, and all others. */
const forward = {
  gpt2: options => [0, encoder(options, 768, 0.5) + product(options.batch * options.sequence, 768, 50257)],
  bert: options => [0, encoder(options, 768, 1) + product(options.batch, 768, 770)],
  resnet50: ({ batch }) => [batch * resnetStem, batch * resnetRest],
  tinyMlp: ({ batch }) => [product(batch, 2, 16), product(batch, 16, 1)],
  mlp: ({ batch }) => [product(batch, 784, 512), product(batch, 512, 522)],
  cnn: ({ batch }) => [batch * product(28 ** 2, 9, 32), batch * (product(14 ** 2, 288, 64) + product(1, 3136, 10))],
  lstm: ({ batch, sequence, size }) => Array(2).fill(product(batch * sequence, size, 4 * size)),
}

/** Bytes for each parameter: value and gradient read, value written; AdamW's two states, momentum's one read and written. */
const updateBytes = { gpt2: 28, bert: 28, resnet50: 20, tinyMlp: 12, mlp: 28, cnn: 28, lstm: 28 }

/**
 * The shortest time in which a machine that does `flops` operations in float32, `flops16` in bfloat16, and moves `bandwidth`
 * bytes a second can run the network: products in full, then the optimizer's pass; for inference products, or reading the
 * weights if that takes longer. With `autocast` products go at the better of the two rates, and inference reads half the bytes.
 */
export function floor({ network, train, options, autocast }, parameters, { flops, flops16, bandwidth }) {
  const [first, rest] = forward[network](options)
  const rate = autocast ? Math.max(flops, flops16) : flops
  if (train) return (2 * first + 3 * rest) / rate + (parameters * updateBytes[network]) / bandwidth
  return Math.max((first + rest) / rate, ((autocast ? 2 : 4) * parameters) / bandwidth)
}
