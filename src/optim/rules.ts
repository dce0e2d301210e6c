import { atLeast, below1, flag, type Rule, type Rules, upTo1, wholeFrom } from './check'

/** Where the options of optimizers must lie; those of one name mean the same, but for what an optimizer's own table says. */
export const optionRules: Rules = {
  lr: atLeast(0),
  betas: {
    expected: 'two numbers from 0 to below 1',
    holds: value => isPair(value) && value.every(beta => below1.holds(beta)),
  },
  eps: atLeast(0),
  weightDecay: atLeast(0),
  momentum: atLeast(0),
  dampening: upTo1,
  nesterov: flag,
  alpha: upTo1,
  centered: flag,
  lrDecay: atLeast(0),
  initialAccumulator: atLeast(0),
  rho: upTo1,
  iterations: wholeFrom(1),
}

function isPair(value: unknown): value is readonly [unknown, unknown] {
  return Array.isArray(value) && value.length === 2
}

/** Nesterov's momentum of SGD. */
export const nesterovOfMomentum: Rule = {
  expected: 'false, or true with momentum and without dampening',
  holds: (value, options: { momentum?: number; dampening?: number } = {}) => {
    const { momentum = 0, dampening = 0 } = options
    return value === false || (value === true && momentum > 0 && dampening === 0)
  },
}

/** The two floors of Adafactor. */
export const floors: Rule = {
  expected: 'two numbers of 0 or more, of which the first may be null',
  holds: value => isPair(value) && (value[0] === null || atLeast(0).holds(value[0])) && atLeast(0).holds(value[1]),
}
