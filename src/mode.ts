import { AsyncLocalStorage } from 'node:async_hooks'
import type { Tensor } from './tensor'

/**
 * What follows the flow of a program, across `await`: whether gradients are recorded, whether ops that have both run their
 * composition rather than their kernel (for tests), and who collects new tensors.
 */
export interface Mode {
  readonly grad: boolean
  readonly lower: boolean
  /** The 16-bit dtype that products are computed in; float8: bfloat16, and those of linear layers in 8 bits. */
  readonly autocast: 'bfloat16' | 'float16' | 'float8' | undefined
  readonly scope: Owner | undefined
}

/** Whoever is to dispose of tensors. */
export interface Owner {
  add(tensor: Tensor, registered?: boolean): void
  remove(tensor: Tensor): void
}

const storage = new AsyncLocalStorage<Mode>()
let everUsed = false

const outermost: Mode = { grad: true, lower: false, autocast: undefined, scope: undefined }

/** A mode as calls pass it on: see native/node/call.cpp. */
export function modeBits({ grad, lower, autocast }: Mode): number {
  const low = autocast === undefined ? 0 : { bfloat16: 4, float16: 8, float8: 12 }[autocast]
  return (grad ? 1 : 0) + (lower ? 2 : 0) + low
}

/** The mode here; looked up only in programs that have ever changed it, since the look-up is dear. */
export function currentMode(): Mode {
  return everUsed ? (storage.getStore() ?? outermost) : outermost
}

/** Runs `fn`, and what it awaits, in a mode that differs by `change`. */
export function withMode<R>(change: Partial<Mode>, fn: () => R): R {
  everUsed = true
  return storage.run({ ...currentMode(), ...change }, fn)
}
