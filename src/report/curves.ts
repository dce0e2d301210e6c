import { betterOf } from '../train/history'

/** One chart: the values per epoch of a metric in training and validation. */
export interface Curve {
  name: string
  train?: readonly number[]
  validation?: readonly number[]
}

const learningRate = /^(lr|learning_?rate)$/i
const validation = /^val(?:_(?=.)|(?=[A-Z]))/

/** Pairs training with validation values: loss first, the learning rate last. */
export function curvesOf(history: Readonly<Record<string, readonly number[]>>): Curve[] {
  const curves = new Map<string, Curve>()
  for (const [key, values] of Object.entries(history)) {
    const isValidation = validation.test(key)
    const bare = key.replace(validation, '')
    const name = isValidation ? bare.charAt(0).toLowerCase() + bare.slice(1) : key
    const curve = curves.get(name) ?? { name }
    curve[isValidation ? 'validation' : 'train'] = values
    curves.set(name, curve)
  }
  const rank = ({ name }: Curve) => (learningRate.test(name) ? 2 : /^loss$/i.test(name) ? 0 : 1)
  return [...curves.values()].sort((a, b) => rank(a) - rank(b))
}

export function isLearningRate(curve: Curve): boolean {
  return learningRate.test(curve.name)
}

/** The best value and its epoch, counted from 1: the lowest of losses and errors, the highest of anything else. */
export function best(name: string, values: readonly number[]): { value: number; epoch: number } | undefined {
  const sign = betterOf(name) === 'min' ? -1 : 1
  let found: { value: number; epoch: number } | undefined
  for (const [index, value] of values.entries()) {
    if (Number.isFinite(value) && (!found || sign * value > sign * found.value)) found = { value, epoch: index + 1 }
  }
  return found
}
