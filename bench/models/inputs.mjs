import { anneal } from '../anneal.mjs'
import { formula, indices, sizeOf } from '../values.mjs'

const { nn, optim, tensor } = anneal

/** Floats within ±1. */
export const floats = (shape, number) => tensor(formula(sizeOf(shape), number), { shape })

/** Indices below `count`. */
export const choices = (shape, number, count) => tensor(indices(sizeOf(shape), number, count), { shape })

/** Makes all matrices normal with a standard deviation of 0.02 and all biases zero, as GPT-2 and BERT begin. */
export function asPublished(model) {
  for (const [name, parameter] of model.namedParameters()) {
    if (/norm/i.test(name)) continue
    if (parameter.ndim > 1) nn.init.normal(parameter, 0, 0.02)
    else nn.init.zeros(parameter)
  }
  return model
}

export const adamW = parameters => new optim.AdamW(parameters, { lr: 1e-4 })
