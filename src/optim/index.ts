import { AnnealError } from '../errors'
import { Adafactor } from './adafactor'
import { Adadelta, Adagrad, Adam, AdamW, LAMB, Lion, RMSprop, SGD } from './fused'
import { Muon } from './muon'
import type { Optimizer } from './optimizer'

export { Adafactor, type AdafactorOptions } from './adafactor'
export { clipGradNorm, clipGradValue } from './clip'
export { type EmaOptions, ExponentialMovingAverage } from './ema'
export * from './fused'
export { Muon, type MuonOptions } from './muon'
export { type BaseOptions, Optimizer, type OptimizerState, type ParameterGroup } from './optimizer'
export * from './schedule'
export * from './schedules'

const byName = {
  sgd: () => new SGD({ lr: 0.01 }),
  adam: () => new Adam(),
  adamw: () => new AdamW(),
  rmsprop: () => new RMSprop(),
  adagrad: () => new Adagrad(),
  adadelta: () => new Adadelta(),
  lion: () => new Lion(),
  lamb: () => new LAMB(),
  adafactor: () => new Adafactor(),
  muon: () => new Muon(),
} satisfies Record<string, () => Optimizer>

/** The optimizers that `model.compile` knows by name. */
export type OptimizerName = keyof typeof byName

/** An optimizer of that name (in any case) with its default settings, to be attached to parameters. */
export function resolveOptimizer(name: string): Optimizer {
  const key = String(name).toLowerCase()
  if (!Object.hasOwn(byName, key)) {
    throw new AnnealError(
      'ERR_VALUE',
      `compile: unknown optimizer '${name}'; expected one of ${Object.keys(byName).join(', ')}`,
    )
  }
  return byName[key as OptimizerName]()
}
