import { noGrad } from '../autograd'
import { tensor } from '../creation'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { eye, full, randomNormal, randomUniform, truncatedNormal as truncated } from '../ops.generated'
import type { Parameter, Tensor } from '../tensor'
import { orthonormal } from './orthonormal'

/**
 * Initialisers: each gives a parameter new values and returns it. Fans are those of weights as layers hold them: [out, in]
 * and [out, spatial ..., in].
 */

/** Activations for which {@link gain} knows the factor that keeps the variance. */
export type Nonlinearity = 'linear' | 'sigmoid' | 'tanh' | 'relu' | 'leakyRelu' | 'selu'

/**
 * The factor by which weights are scaled before an activation (PyTorch's `calculate_gain`).
 * @param slope The negative slope of 'leakyRelu'.
 */
export function gain(nonlinearity: Nonlinearity, slope = 0.01): number {
  switch (nonlinearity) {
    case 'linear':
    case 'sigmoid':
      return 1
    case 'tanh':
      return 5 / 3
    case 'relu':
      return Math.SQRT2
    case 'leakyRelu':
      return Math.sqrt(2 / (1 + slope ** 2))
    case 'selu':
      return 3 / 4
    default:
      throw new AnnealError('ERR_VALUE', `gain: unknown nonlinearity '${nonlinearity}'`)
  }
}

/**
 * How many inputs and outputs a unit of a weight has: sizes of the last and first axes, each times the kernel's size.
 * @throws ERR_SHAPE for fewer than two axes.
 */
export function fans({ shape }: Tensor): { fanIn: number; fanOut: number } {
  if (shape.length < 2) {
    throw new AnnealError('ERR_SHAPE', `init: fans need a weight of two or more axes; got [${shape}]`)
  }
  const kernel = shape.slice(1, -1).reduce((a, b) => a * b, 1)
  return { fanIn: shape.at(-1)! * kernel, fanOut: shape[0]! * kernel }
}

/** Gives a parameter the value that `make` computes, without a record for gradients. */
export function set(parameter: Parameter, make: () => Tensor): Parameter {
  scope(() => noGrad(() => parameter.assign(make())))
  return parameter
}

/** Fills with `value`. */
export function constant(parameter: Parameter, value: number): Parameter {
  return set(parameter, () => full(parameter.shape, value, { dtype: parameter.dtype }))
}

/** Fills with zeros. */
export function zeros(parameter: Parameter): Parameter {
  return constant(parameter, 0)
}

/** Fills with ones. */
export function ones(parameter: Parameter): Parameter {
  return constant(parameter, 1)
}

/** Ones on the diagonal of a weight of two axes, zeros elsewhere. */
export function identity(parameter: Parameter): Parameter {
  const [rows, columns] = matrixShape('identity', parameter)
  return set(parameter, () => eye(rows, { columns, dtype: parameter.dtype }))
}

/** Uniform between `low` and `high`. */
export function uniform(parameter: Parameter, low = 0, high = 1): Parameter {
  return set(parameter, () => randomUniform(parameter.shape, { low, high, dtype: parameter.dtype }))
}

/** Draws from the normal distribution with this mean and standard deviation. */
export function normal(parameter: Parameter, mean = 0, std = 1): Parameter {
  return set(parameter, () => randomNormal(parameter.shape, { mean, std, dtype: parameter.dtype }))
}

/** Normal with the given mean and standard deviation before values outside of `low` to `high` are drawn anew. */
export function truncatedNormal(
  parameter: Parameter,
  options: { mean?: number; std?: number; low?: number; high?: number } = {},
): Parameter {
  return set(parameter, () => truncated(parameter.shape, { ...options, dtype: parameter.dtype }))
}

/** Uniform within ±gain·√(6 / (fanIn + fanOut)) (Glorot and Bengio, 2010). */
export function xavierUniform(parameter: Parameter, options: { gain?: number } = {}): Parameter {
  const { fanIn, fanOut } = fans(parameter)
  const bound = (options.gain ?? 1) * Math.sqrt(6 / (fanIn + fanOut))
  return uniform(parameter, -bound, bound)
}

/** Normal with standard deviation gain·√(2 / (fanIn + fanOut)) (Glorot and Bengio, 2010). */
export function xavierNormal(parameter: Parameter, options: { gain?: number } = {}): Parameter {
  const { fanIn, fanOut } = fans(parameter)
  return normal(parameter, 0, (options.gain ?? 1) * Math.sqrt(2 / (fanIn + fanOut)))
}

/** What {@link kaimingUniform} and {@link kaimingNormal} assume of the layer. */
export interface KaimingOptions {
  /** Which variance is kept: that of values going forward ('fanIn') or of gradients going back ('fanOut'). Default: 'fanIn'. */
  mode?: 'fanIn' | 'fanOut'
  /** The activation that follows. Default: 'leakyRelu'. */
  nonlinearity?: Nonlinearity
  /** The negative slope of 'leakyRelu'. Default: 0. */
  slope?: number
}

function kaimingStd(parameter: Parameter, options: KaimingOptions): number {
  const { mode = 'fanIn', nonlinearity = 'leakyRelu', slope = 0 } = options
  if (mode !== 'fanIn' && mode !== 'fanOut') {
    throw new AnnealError('ERR_VALUE', `init: expected mode to be 'fanIn' or 'fanOut'; got '${mode}'`)
  }
  return gain(nonlinearity, slope) / Math.sqrt(fans(parameter)[mode])
}

/** Uniform with variance gain² / fan (He et al., 2015). */
export function kaimingUniform(parameter: Parameter, options: KaimingOptions = {}): Parameter {
  const bound = Math.sqrt(3) * kaimingStd(parameter, options)
  return uniform(parameter, -bound, bound)
}

/** Normal with variance gain² / fan (He et al., 2015). */
export function kaimingNormal(parameter: Parameter, options: KaimingOptions = {}): Parameter {
  return normal(parameter, 0, kaimingStd(parameter, options))
}

/**
 * Orthonormal rows (or columns, whichever are fewer), times `gain`; further axes count as columns (Saxe et al., 2014).
 * Computed at once, which takes time for thousands of rows.
 */
export function orthogonal(parameter: Parameter, options: { gain?: number } = {}): Parameter {
  const { shape, size } = parameter
  if (shape.length < 2) throw new AnnealError('ERR_SHAPE', `orthogonal: expected two or more axes; got [${shape}]`)
  if (size === 0) return parameter
  const rows = shape[0]!
  return set(parameter, () => {
    const values = randomNormal([size], { dtype: 'float64' }).dataSync() as Float64Array
    const matrix = orthonormal(values, rows, size / rows)
    return tensor(matrix, { shape })
      .mul(options.gain ?? 1)
      .cast(parameter.dtype)
  })
}

/** Zeros for a `fraction` of each column of a weight of two axes, normal with `std` elsewhere (Martens, 2010). */
export function sparse(parameter: Parameter, fraction: number, options: { std?: number } = {}): Parameter {
  const [rows, columns] = matrixShape('sparse', parameter)
  if (!(fraction >= 0 && fraction <= 1)) {
    throw new AnnealError('ERR_VALUE', `sparse: expected fraction to be from 0 to 1; got ${fraction}`)
  }
  return set(parameter, () => {
    const order = randomUniform([rows, columns]).argsort({ axis: 0 }).argsort({ axis: 0 })
    const values = randomNormal([rows, columns], { std: options.std ?? 0.01, dtype: parameter.dtype })
    return values.mul(order.greaterEqual(Math.ceil(fraction * rows)).cast(parameter.dtype))
  })
}

function matrixShape(what: string, { shape }: Tensor): [number, number] {
  if (shape.length === 2) return [shape[0]!, shape[1]!]
  throw new AnnealError('ERR_SHAPE', `${what}: expected a weight of two axes; got [${shape}]`)
}
