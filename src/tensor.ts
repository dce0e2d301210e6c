import { describe, expectTensor, handleOrAbsent } from './call'
import { currentRecording, refuseWhileCapturing } from './capturing'
import type { DeviceName } from './device'
import { type DType, dtypes, isFloat, type TypedArray, viewOf } from './dtype'
import { AnnealError, type ErrorCode } from './errors'
import { free, keep, noteCreated, turnDue } from './lifetime'
import { currentMode } from './mode'
import { checked, native, throwLast } from './native'
import { type NestedArray, nest } from './nested'
import { sizeOf } from './shape'

export type { DType, TypedArray } from './dtype'
export type { NestedArray } from './nested'

export interface BackwardOptions {
  /** Keep what was recorded, so that another pass may go through it. Default: false. */
  retainGraph?: boolean
  /** Record the pass itself, for gradients of gradients. Default: false. */
  createGraph?: boolean
}

/** An error from the native library's stream as an AnnealError, with the awaiting caller's stack. */
function rejected(error: unknown): never {
  const { code, message } = error as { code: ErrorCode; message: string }
  throw new AnnealError(code ?? 'ERR_INTERNAL', message)
}

/**
 * An immutable n-dimensional array of numbers. Methods queue work on the device and return at once; `await t.data()` waits
 * for the values. Memory is returned by the garbage collector, or earlier by `dispose()`, `using` or `scope()`.
 */
export class Tensor {
  /** @internal */
  handle: number
  #spec: { dtype: number; requiresGrad: boolean; shape: number[] } | undefined

  /** @internal Tensors are made by `tensor()` and by ops. */
  constructor(handle: number, mode = currentMode()) {
    this.handle = handle
    noteCreated(this, mode)
  }

  #described() {
    this.#spec ??= describe(this.handle)
    return this.#spec
  }

  /** @internal A cell whose dtype was changed is described anew. */
  protected forgetSpec() {
    this.#spec = undefined
  }

  /** The size of each axis; empty for a scalar. */
  get shape(): readonly number[] {
    return this.#described().shape
  }

  get dtype(): DType {
    return dtypes[this.#described().dtype]!
  }

  /** The device whose memory holds the values; a scalar that travels with calls may say 'cpu' anywhere. */
  get device(): DeviceName {
    return native.deviceOf(this.handle) ?? throwLast()
  }

  /** The number of axes. */
  get ndim(): number {
    return this.shape.length
  }

  /** The number of elements. */
  get size(): number {
    return sizeOf(this.shape)
  }

  /** Whether gradients flow back through this tensor. */
  get requiresGrad(): boolean {
    return describe(this.handle).requiresGrad
  }

  /** Makes this tensor a leaf, in which `backward()` collects a gradient. Floating-point tensors only. Returns itself. */
  requireGrad(): this {
    if (!native.requireGrad(this.handle, true)) throwLast()
    return this
  }

  /** The gradient collected by `backward()`, shaped like this tensor; undefined before. Set undefined to clear it. */
  get grad(): Tensor | undefined {
    const handle = native.grad(this.handle)
    return handle === -2 ? undefined : new Tensor(checked(handle))
  }

  set grad(value: Tensor | undefined) {
    if (!native.setGrad(this.handle, handleOrAbsent(value, 'grad'))) throwLast()
  }

  /** The same value, through which no gradient flows. */
  detach(): Tensor {
    return new Tensor(checked(native.detach(this.handle)))
  }

  /**
   * Adds the gradient of this tensor to the `grad` of every leaf that it depends on.
   * @param gradient The gradient of the final result with respect to this tensor, of its shape; implied for one element.
   * @throws ERR_GRADIENT when nothing requires a gradient; ERR_STATE when the record was already used up; ERR_VALUE for a
   * gradient that is no tensor.
   */
  backward(gradient?: Tensor, options: BackwardOptions = {}): void {
    const { retainGraph = false, createGraph = false } = options
    const seed = handleOrAbsent(gradient, 'backward: gradient', 'Options come second: backward(undefined, { … })')
    if (!native.backward(this.handle, seed, retainGraph, createGraph)) throwLast()
  }

  /**
   * The values in row-major order. 16-bit floats come as a Float32Array, bool as a Uint8Array of 0 and 1.
   * Rejects with the error of whichever queued op failed on the way to this tensor.
   */
  data(): Promise<TypedArray> {
    refuseWhileCapturing('data()')
    return this.#data()
  }

  async #data(): Promise<TypedArray> {
    const { dtype } = this
    if (dtype === 'float16' || dtype === 'bfloat16') return this.cast('float32').data()
    return viewOf(dtype, await this.#read())
  }

  /** Like {@link data}, but blocks the event loop until the values are there. */
  dataSync(): TypedArray {
    refuseWhileCapturing('dataSync()')
    const { dtype } = this
    if (dtype === 'float16' || dtype === 'bfloat16') return this.cast('float32').dataSync()
    return viewOf(dtype, native.readSync(this.handle) ?? throwLast())
  }

  /** Resolves when the value has been computed; rejects as {@link data} does. */
  ready(): Promise<this> {
    refuseWhileCapturing('ready()')
    return this.#ready()
  }

  async #ready(): Promise<this> {
    await native.ready(this.handle).catch(rejected)
    const turn = turnDue()
    if (turn) await turn
    return this
  }

  /** The bytes as they lie in memory, row-major and little-endian, in the tensor's own dtype. */
  bytes(): Promise<Uint8Array> {
    refuseWhileCapturing('bytes()')
    return this.#bytes()
  }

  async #bytes(): Promise<Uint8Array> {
    return new Uint8Array(await this.#read())
  }

  async #read(): Promise<ArrayBuffer> {
    const buffer = await native.read(this.handle).catch(rejected)
    const turn = turnDue()
    if (turn) await turn
    return buffer
  }

  /** The one value of a one-element tensor. */
  item(): Promise<number> {
    refuseWhileCapturing('item()')
    return this.#item()
  }

  async #item(): Promise<number> {
    this.#requireOne()
    return Number((await this.data())[0])
  }

  /** Like {@link item}, but blocks the event loop until the value is there. */
  itemSync(): number {
    this.#requireOne()
    return Number(this.dataSync()[0])
  }

  #requireOne() {
    if (this.size !== 1) {
      throw new AnnealError(
        'ERR_SHAPE',
        `item: the tensor has ${this.size} elements (shape [${this.shape}]), expected 1; use data() or toArray()`,
      )
    }
  }

  /** The values as nested arrays; bool as booleans, int64 as bigints. */
  toArray(): Promise<NestedArray> {
    refuseWhileCapturing('toArray()')
    return this.#toArray()
  }

  async #toArray(): Promise<NestedArray> {
    return nest(await this.data(), this.shape, this.dtype)
  }

  /** Frees the memory now, unless another tensor shares it. Using the tensor afterwards is an error. */
  dispose(): void {
    free(this)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** A tensor is no number: comparing or adding it in JavaScript would be a slip. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === 'string') return this.toString()
    refuseWhileCapturing('the value of a tensor as a number')
    throw new AnnealError(
      'ERR_VALUE',
      `${this} is used as a number: await item() for its value, or use methods such as add() and less()`,
    )
  }

  toString(): string {
    return `Tensor(${this.dtype}[${this.shape}])`
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}

/** A leaf whose value is replaced as it is trained: what optimizers update. */
export class Parameter extends Tensor {
  /** Takes over the value of `value`, which is detached first. */
  constructor(value: Tensor) {
    if (currentRecording()) {
      throw new AnnealError('ERR_CAPTURE', 'compile: parameters and buffers are made outside of a captured function')
    }
    super(checked(native.detach(expectTensor(value, 'Parameter').handle)))
    keep(this)
    this.trainable = isFloat(value.dtype)
  }

  /** Whether gradients are collected here and optimizers update it; set false to freeze. */
  get trainable(): boolean {
    return this.requiresGrad
  }

  set trainable(on: boolean) {
    if (on !== this.trainable && !native.requireGrad(this.handle, on)) throwLast()
  }

  /**
   * Replaces the value.
   * @throws ERR_SHAPE unless shape and dtype are the same.
   */
  assign(value: Tensor): void {
    if (!native.assign(this.handle, expectTensor(value, 'assign').detach().handle, false, false)) throwLast()
  }

  /** Converts the value to another dtype, in place; a collected gradient is dropped. Integers are not trainable. */
  convert(dtype: DType): void {
    if (dtype === this.dtype) return
    this.grad = undefined
    if (!native.assign(this.handle, this.cast(dtype).detach().handle, true, false)) throwLast()
    this.forgetSpec()
    if (!isFloat(dtype)) this.trainable = false
  }

  /** Moves the value to another device, in place; a collected gradient is dropped. */
  move(device: DeviceName): void {
    this.grad = undefined
    if (!native.assign(this.handle, this.detach().to(device).detach().handle, true, false)) throwLast()
  }
}

/** State of a layer that is saved but not trained, such as running statistics. */
export class Buffer extends Parameter {
  constructor(value: Tensor) {
    super(value)
    this.trainable = false
  }
}
