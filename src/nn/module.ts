import { decides, dependsOn } from '../capturing'
import type { Dataset, NdArray } from '../data'
import type { DeviceName } from '../device'
import { type DType, dtypes, isFloat } from '../dtype'
import { AnnealError } from '../errors'
import { Buffer, Parameter, type Tensor } from '../tensor'
import { type Compiled, compile } from '../train/compile'
import { evaluate, predict } from '../train/evaluate'
import { examplesOf } from '../train/examples'
import { fit } from '../train/fit'
import type { History } from '../train/history'
import type { Logs } from '../train/progress'
import type { Bundle, CompileOptions, EvaluateOptions, Examples, FitOptions, PredictOptions } from '../train/types'
import { held } from './attributes'
import { addHook, type ForwardHook, type ForwardPreHook } from './hooks'
import { penalties, type Regularizer } from './regularizers'
import { everyName, loadState } from './state'
import { type SummaryInput, summarize } from './summary'

export type { ForwardHook, ForwardPreHook } from './hooks'

/** What a forward pass did, as {@link Module.flops} needs it. */
export interface ForwardShapes {
  readonly inputs: readonly (readonly number[])[]
  readonly output: readonly number[]
}

const printing = new Set<Module>()

/**
 * The base of all layers and models. Parameters, buffers and modules that are attributes, or in arrays and plain objects that
 * are attributes, register themselves under the attribute's name. Those in Maps, Sets and private fields (#) do not.
 * Subclasses write `forward`.
 */
export abstract class Module {
  /** Whether layers such as dropout and batch norm behave as in training; set by `train()` and `eval()`. */
  get training(): boolean {
    dependsOn(this, () => this.#training)
    return this.#training
  }

  set training(on: boolean) {
    decides(this)
    this.#training = on
  }

  #training = true

  /** A penalty on the weights of this module itself, which training adds to the loss. Biases are left out. */
  regularizer: Regularizer | undefined = undefined

  /** Computes the outputs from the inputs. */
  // biome-ignore lint/suspicious/noExplicitAny: what flows between modules is the subclass's choice
  abstract forward(...inputs: any[]): any

  /** Floating-point operations of one forward pass, multiplications and additions counted apart; 0 for what is negligible. */
  flops(_shapes: ForwardShapes): number {
    return 0
  }

  /** A word about the configuration, shown by `summary()` and when printed. */
  extraRepr(): string {
    return ''
  }

  /** The modules, parameters and buffers that are attributes of this one, or in arrays and plain objects that are. */
  *namedParts(): Generator<[string, Module | Parameter]> {
    for (const { name, value } of held(this)) {
      if (value instanceof Module || value instanceof Parameter) yield [name, value]
    }
  }

  /** The modules among its parts. */
  *namedChildren(): Generator<[string, Module]> {
    for (const [name, part] of this.namedParts()) if (part instanceof Module) yield [name, part]
  }

  /** The modules registered here, not those within them. */
  children(): Module[] {
    return Array.from(this.namedChildren(), ([, module]) => module)
  }

  /** This module (under `prefix`) and all below it, each once, parents first. */
  *namedModules(prefix = '', seen = new Set<Module>()): Generator<[string, Module]> {
    if (seen.has(this)) return
    seen.add(this)
    yield [prefix, this]
    for (const [name, child] of this.namedChildren()) yield* child.namedModules(join(prefix, name), seen)
  }

  /** This module and all modules within it. */
  modules(): Module[] {
    return Array.from(this.namedModules(), ([, module]) => module)
  }

  /** Parameters and buffers, each once, with the module and attribute that hold them. */
  *namedCells(): Generator<[name: string, cell: Parameter, owner: Module, attribute: string]> {
    const seen = new Set<Parameter>()
    for (const [prefix, module] of this.namedModules()) {
      for (const { name, value } of held(module)) {
        if (!(value instanceof Parameter) || seen.has(value)) continue
        seen.add(value)
        yield [join(prefix, name), value, module, name]
      }
    }
  }

  /** The further names of parameters and buffers that are tied, each with the name in {@link namedCells}. */
  *namedAliases(): Generator<[alias: string, name: string]> {
    const names = new Map(Array.from(this.namedCells(), ([name, cell]) => [cell, name]))
    for (const [alias, cell] of everyName(this)) {
      const name = names.get(cell)!
      if (alias !== name) yield [alias, name]
    }
  }

  /** The parameters of this module and all below it, by dotted name; buffers are not among them. */
  *namedParameters(): Generator<[string, Parameter]> {
    for (const [name, cell] of this.namedCells()) if (!(cell instanceof Buffer)) yield [name, cell]
  }

  /** All parameters, those of modules within included; a shared one once. */
  parameters(): Parameter[] {
    return Array.from(this.namedParameters(), ([, parameter]) => parameter)
  }

  /** All buffers with their dotted names. */
  *namedBuffers(): Generator<[string, Buffer]> {
    for (const [name, cell] of this.namedCells()) if (cell instanceof Buffer) yield [name, cell]
  }

  /** All buffers, those of modules within included. */
  buffers(): Buffer[] {
    return Array.from(this.namedBuffers(), ([, buffer]) => buffer)
  }

  /** The values of all parameters and buffers, by dotted name; they stay as they are when training goes on. */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries(Array.from(this.namedCells(), ([name, cell]) => [name, cell.detach()]))
  }

  /**
   * Replaces the values of parameters and buffers; nothing changes unless all fit. A tied one may come under any of its
   * names; where it comes under several, the last in `state` beside that of {@link stateDict} wins.
   * @param options.strict Whether every name must be on both sides. Default: true.
   * @returns The names that were missing in `state`, and those that it had too many.
   * @throws ERR_VALUE for names that differ, ERR_SHAPE for other shapes.
   */
  loadStateDict(
    state: Record<string, Tensor>,
    options: { strict?: boolean } = {},
  ): { missing: string[]; unexpected: string[] } {
    return loadState(this, state, options)
  }

  /** The sum of the penalties of all regularizers here and below, a scalar; undefined where there are none. */
  regularization(): Tensor | undefined {
    const all = this.modules().flatMap(module => {
      const { regularizer } = module
      return regularizer ? ownWeights(module).flatMap(weight => penalties(regularizer, weight)) : []
    })
    return all.length > 0 ? all.reduce((a, b) => a.add(b)) : undefined
  }

  /** Puts this module and all below it into training mode, or with false into evaluation mode. */
  train(mode = true): this {
    for (const module of this.modules()) module.training = mode
    return this
  }

  /** Puts this module and all below it into evaluation mode. */
  eval(): this {
    return this.train(false)
  }

  /** Stops the training of all parameters here. */
  freeze(): this {
    for (const parameter of this.parameters()) parameter.trainable = false
    return this
  }

  /** Takes up the training of all parameters here again. */
  unfreeze(): this {
    for (const parameter of this.parameters()) parameter.trainable = true
    return this
  }

  /**
   * Converts all floating-point parameters and buffers to a dtype, or moves all of them to a device.
   * @throws ERR_DEVICE for a device that there is not; the message says why and what to do.
   */
  to(target: DType | DeviceName): this {
    if (target === 'cpu' || target === 'cuda' || target.startsWith('cuda:')) {
      for (const [, cell] of this.namedCells()) cell.move(target as DeviceName)
      return this
    }
    const floats = dtypes.filter(isFloat)
    if (!floats.includes(target as DType)) {
      throw new AnnealError(
        'ERR_DTYPE',
        `to: expected a floating-point dtype (${floats.join(', ')}) or a device (cpu, cuda, cuda:1); got '${target}'`,
      )
    }
    for (const [, cell] of this.namedCells()) if (isFloat(cell.dtype)) cell.convert(target as DType)
    return this
  }

  /** Drops all collected gradients. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.grad = undefined
  }

  /** The number of values in all parameters. */
  countParameters(options: { trainableOnly?: boolean } = {}): number {
    const counted = this.parameters().filter(p => !options.trainableOnly || p.trainable)
    return counted.reduce((n, p) => n + p.size, 0)
  }

  /** Calls `hook` before every forward pass of this module. Returns a function that removes it. */
  registerForwardPreHook(hook: ForwardPreHook): () => void {
    return addHook(this, hooks => hooks.before, hook)
  }

  /** Calls `hook` after every forward pass of this module. Returns a function that removes it. */
  registerForwardHook(hook: ForwardHook): () => void {
    return addHook(this, hooks => hooks.after, hook)
  }

  #compiled: Compiled | undefined

  #requireCompiled(what: string): Compiled {
    if (!this.#compiled) throw new AnnealError('ERR_STATE', `${what}: the model is not compiled; call compile() first`)
    return this.#compiled
  }

  /** Says how the model is trained: optimizer, losses and metrics. Returns itself. */
  compile(options: CompileOptions): this {
    this.#compiled = compile(this, options)
    return this
  }

  /**
   * Trains the model: `fit(x, y, options)` on tensors, `fit(dataset, options)` on a dataset of `[x, y]` examples (with
   * `batchSize`) or batches. Never blocks the event loop. Every call begins at epoch 0 of a dataset, so that one which
   * shuffles itself gives the same order in each: say `epochs` rather than call again, or shuffle with another seed.
   * @returns The history of the values of each epoch.
   */
  fit(x: Bundle, y: Bundle, options?: FitOptions): Promise<History>
  fit(data: Examples, options?: FitOptions): Promise<History>
  async fit(first: Bundle | Examples, second?: Bundle | FitOptions, third?: FitOptions): Promise<History> {
    const [examples, options] = examplesOf<FitOptions>(first, second, third)
    return fit(this, this.#requireCompiled('fit'), examples, options)
  }

  /** Loss and metrics on data, given as to {@link fit}. */
  evaluate(x: Bundle, y: Bundle, options?: EvaluateOptions): Promise<Logs>
  evaluate(data: Examples, options?: EvaluateOptions): Promise<Logs>
  async evaluate(first: Bundle | Examples, second?: Bundle | EvaluateOptions, third?: EvaluateOptions): Promise<Logs> {
    const [examples, options] = examplesOf<EvaluateOptions>(first, second, third)
    return evaluate(this, this.#requireCompiled('evaluate'), examples, options)
  }

  /**
   * The outputs for `inputs`, of the kind that `forward` gives, computed in batches, in evaluation mode and without
   * gradients. Inputs are tensors, `{ data, shape }` as scalers give it, or a dataset of batches or (with
   * `batchSize`) examples.
   * @throws ERR_SHAPE for outputs that have not one row per example, as of one example without an axis of examples.
   */
  // biome-ignore lint/suspicious/noExplicitAny: datasets of any element; batches are checked when they come
  predict(inputs: Bundle | NdArray | Dataset<any>, options: PredictOptions = {}): Promise<ReturnType<this['forward']>> {
    return predict(this, inputs, options, this.#compiled) as Promise<ReturnType<this['forward']>>
  }

  /**
   * A table of modules with output shapes, parameters and floating-point operations, as text.
   * @param inputs Shapes of the inputs, batch included; without them only parameters are shown.
   */
  summary(...inputs: SummaryInput[]): string {
    return summarize(this, ...inputs)
  }

  toString(): string {
    if (printing.has(this)) return `${this.constructor.name}(…)` // it is within itself
    printing.add(this)
    try {
      const own = `${this.constructor.name}(${this.extraRepr()}`
      const lines = Array.from(
        this.namedChildren(),
        ([name, child]) => `  (${name}): ${child.toString().replaceAll('\n', '\n  ')}`,
      )
      return lines.length ? `${own}\n${lines.join('\n')}\n)` : `${own})`
    } finally {
      printing.delete(this)
    }
  }
}

// In JavaScript a class may lack what TypeScript asks for.
Module.prototype.forward = function (this: Module) {
  throw new AnnealError('ERR_STATE', `${this.constructor.name}: the class has no method forward(); write one`)
}

/** The parameters that `module` itself holds, without biases. */
function ownWeights(module: Module): Parameter[] {
  return Array.from(held(module)).flatMap(({ name, value }) =>
    value instanceof Parameter && value.trainable && !/bias/i.test(name) ? [value] : [],
  )
}

function join(prefix: string, name: string): string {
  return prefix ? `${prefix}.${name}` : name
}
