import { noGrad } from '../autograd'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { abs, cast, clamp, div, full, greaterEqual, max, reshape, round, where } from '../ops.generated'
import { Buffer, type Parameter, type Tensor } from '../tensor'
import { MultiHeadAttention } from './attention'
import { held } from './attributes'
import { shown } from './check'
import { Conv, Conv1d, Conv2d, Conv3d } from './conv'
import { Graph } from './graph'
import { Linear } from './linear'
import { Module } from './module'
import { QuantizedConv1d, QuantizedConv2d, QuantizedConv3d, QuantizedLinear } from './quantized'

export interface QuantizeOptions {
  /**
   * Which layers stay as they are: names, as `namedModules()` gives them (with all that is below), classes, or a function that
   * says so of each layer.
   */
  // biome-ignore lint/suspicious/noExplicitAny: each class has arguments of its own
  skip?: readonly (string | (new (...args: any[]) => Module))[] | ((name: string, module: Module) => boolean)
}

const leastScale = 1.1754943508222875e-38 // the smallest normal float32
const counterparts = new Map<unknown, new (...args: never[]) => Module>([
  [Linear, QuantizedLinear],
  [Conv1d, QuantizedConv1d],
  [Conv2d, QuantizedConv2d],
  [Conv3d, QuantizedConv3d],
])

/**
 * Quantises the linear layers and convolutions of a trained model to int8, in place: weights symmetrically with a scale for each
 * output, activations when they come, by the range of each row (linear layers) or image (convolutions). Attention and
 * transformer layers are covered. Depthwise convolutions and others of few channels in a group stay as they are: they wait for memory, not
 * for arithmetic. The model is in evaluation mode afterwards and cannot be trained.
 *
 *     const small = nn.quantize(model, { skip: ['classifier'] })
 *
 * @returns The model; for a lone layer the quantised one.
 * @throws ERR_VALUE for weights that are not finite, and for a name in `skip` that the model does not have.
 */
export function quantize(model: Linear, options?: QuantizeOptions): QuantizedLinear
export function quantize(model: Conv1d, options?: QuantizeOptions): QuantizedConv1d
export function quantize(model: Conv2d, options?: QuantizeOptions): QuantizedConv2d
export function quantize(model: Conv3d, options?: QuantizeOptions): QuantizedConv3d
export function quantize<M extends Module>(model: M, options?: QuantizeOptions): M
export function quantize(model: Module, options: QuantizeOptions = {}): Module {
  if (!(model instanceof Module)) {
    throw new AnnealError('ERR_VALUE', `quantize: expected a module; got ${shown(model)}`)
  }
  const all = [...model.namedModules()]
  const skips = skipped(options.skip, new Set(all.map(([name]) => name)))
  const replacements = new Map<Module, Module>()
  for (const [name, module] of all) {
    if (skips(name, module)) continue
    if (module instanceof MultiHeadAttention) quantizeProjection(module, name)
    else if (suits(module)) replacements.set(module, quantizedLayer(module, name))
  }
  for (const [, module] of all) replaceIn(module, child => replacements.get(child) ?? child)
  return (replacements.get(model) ?? model).eval()
}

function skipped(skip: QuantizeOptions['skip'], names: ReadonlySet<string>) {
  if (typeof skip === 'function') return skip
  for (const one of skip ?? []) {
    if (typeof one !== 'string' || names.has(one)) continue
    throw new AnnealError('ERR_VALUE', `quantize: skip: the model has no module ${shown(one)}; see namedModules()`)
  }
  return (name: string, module: Module) =>
    (skip ?? []).some(one =>
      typeof one === 'string' ? name === one || name.startsWith(`${one}.`) : module instanceof one,
    )
}

/** Whether a layer has a quantised counterpart that is faster than itself. */
function suits(module: Module): module is Linear | Conv {
  if (!counterparts.has(module.constructor)) return false
  if (!(module instanceof Conv) || module.groups === 1) return true
  return module.inChannels / module.groups >= 4 && module.outChannels / module.groups >= 8
}

/** The counterpart of a layer, whose weights are still to come. */
function counterpart(module: Linear | Conv): QuantizedLinear | QuantizedConv2d {
  const made = new (counterparts.get(module.constructor)!)(...(module.config() as never[]))
  return made as QuantizedLinear | QuantizedConv2d
}

function quantizedLayer(module: Linear | Conv, name: string): Module {
  const layer = counterpart(module)
  const [weight, scale] = quantizedWeight(module.weight, name)
  layer.weight.assign(weight)
  layer.scale.assign(scale)
  if (module.bias) layer.bias!.assign(cast(module.bias, 'float32'))
  return layer
}

/** int8 values and the scale of each row of a weight: its largest value becomes 127. */
function quantizedWeight(weight: Parameter, name: string): [Tensor, Tensor] {
  return scope(() =>
    noGrad(() => {
      const rows = reshape(cast(weight, 'float32'), [weight.shape[0]!, -1])
      const range = div(max(abs(rows), { axis: 1, keepDims: true }), 127)
      if (!range.isFinite().all().itemSync()) {
        throw new AnnealError('ERR_VALUE', `quantize: ${name || 'the layer'}: the weight holds NaN or infinity`)
      }
      const scale = where(greaterEqual(range, leastScale), range, 1)
      const values = clamp(round(div(rows, scale)), { min: -127, max: 127 })
      return [cast(reshape(values, weight.shape), 'int8'), reshape(scale, [-1])] as [Tensor, Tensor]
    }),
  )
}

/** Puts int8 weights into the place of the float ones that queries, keys and values are made by. */
function quantizeProjection(module: MultiHeadAttention, name: string): void {
  if (module.inProjScale) return
  const [weight, scale] = quantizedWeight(module.inProjWeight, name)
  setProjection(module, weight, scale)
}

function setProjection(module: MultiHeadAttention, weight: Tensor, scale: Tensor): void {
  const { inProjBias: bias } = module
  Object.assign(module, {
    inProjWeight: new Buffer(weight),
    inProjScale: new Buffer(scale),
    inProjBias: bias && new Buffer(cast(bias, 'float32')),
  })
}

/** Puts others into the places of the modules that `owner` holds. */
function replaceIn(owner: Module, replacement: (module: Module) => Module): void {
  if (owner instanceof Graph) owner.replaceModules(replacement)
  for (const { value, holder, key } of held(owner)) if (value instanceof Module) holder[key] = replacement(value)
}

/** The names of what is quantised below `owner`, but for modules that are `known` and what is below those. */
export function quantizedWithin(owner: Module, known: Iterable<Module>): string[] {
  const others = new Set(known)
  others.delete(owner)
  return Array.from(owner.namedModules('', others)).flatMap(([name, module]) => {
    if (module instanceof MultiHeadAttention && module.inProjScale) return [projectionOf(name)]
    return module !== owner && isQuantized(module) ? [name] : []
  })
}

function projectionOf(name: string): string {
  return name ? `${name}.inProj` : 'inProj'
}

function isQuantized(module: Module): boolean {
  return Array.from(counterparts.values()).includes(module.constructor as never)
}

/** Quantises what {@link quantizedWithin} has named in a new module; values are still to come. */
export function quantizeWithin(owner: Module, names: ReadonlySet<string>): void {
  const all = [...owner.namedModules()]
  const chosen = new Map<Module, Module>()
  for (const [name, module] of all) {
    if (names.has(name) && suits(module)) chosen.set(module, counterpart(module))
    if (!(module instanceof MultiHeadAttention) || !names.has(projectionOf(name))) continue
    const { shape } = module.inProjWeight
    setProjection(module, full(shape, 0, { dtype: 'int8' }), full([shape[0]!], 1))
  }
  for (const [, module] of all) replaceIn(module, child => chosen.get(child) ?? child)
}
