const random = 'random: its statistics and keys are tested in test/ops/random.test.ts'

/** Ops that golden values cannot cover, and where they are tested instead. */
export const uncovered: Record<string, string> = {
  bernoulli: random,
  dropout: random,
  dropoutMask: random,
  permutation: random,
  randomInt: random,
  randomNormal: random,
  randomUniform: random,
  truncatedNormal: random,
}
