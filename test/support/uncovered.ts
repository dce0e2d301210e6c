const random = 'random: its statistics and keys are tested in test/ops/random.test.ts'
const recurrent = 'serves rnn, gru and lstm, through which it is tested, and in test/ops/recurrent.test.ts'

/** Ops that golden values cannot cover, and where they are tested instead. */
export const uncovered: Record<string, string> = {
  bernoulli: random,
  clipByGlobalNorm: 'not differentiable and of many outputs: test/optim/optimizers.test.ts',
  dropout: random,
  dropoutMask: random,
  flashAttention: 'internal: test/ops/attention.test.ts compares it with the plain formula',
  flashAttentionGrad: 'internal: test/ops/attention.test.ts compares it with the plain formula',
  linearFp8: 'internal: test/ops/float8.test.ts compares it with products of rounded factors',
  permutation: random,
  randomInt: random,
  randomNormal: random,
  randomUniform: random,
  recurrentGrad: recurrent,
  recurrentLayer: recurrent,
  to: 'needs another device: test/core/device.test.ts',
  truncatedNormal: random,
}
