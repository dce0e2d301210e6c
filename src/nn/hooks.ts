import type { Module } from './module'

/** Called before a module runs; may give other inputs in their place. */
export type ForwardPreHook = (module: Module, inputs: readonly unknown[]) => readonly unknown[] | undefined
/** Called after a module ran; may give another output in its place. */
export type ForwardHook = (module: Module, inputs: readonly unknown[], output: unknown) => unknown

interface Hooks {
  before: ForwardPreHook[]
  after: ForwardHook[]
}

const hooksOf = new WeakMap<Module, Hooks>()

/** Whether functions are called before or after every forward pass of `module`. */
export function hasHooks(module: Module): boolean {
  const hooks = hooksOf.get(module)
  return hooks !== undefined && hooks.before.length + hooks.after.length > 0
}

/** The first hook of a module puts itself around its `forward`; modules without hooks pay nothing. */
export function addHook<H>(module: Module, list: (hooks: Hooks) => H[], hook: H): () => void {
  let hooks = hooksOf.get(module)
  if (!hooks) {
    hooks = { before: [], after: [] }
    hooksOf.set(module, hooks)
    wrapForward(module, hooks)
  }
  const target = list(hooks)
  target.push(hook)
  return () => {
    const index = target.indexOf(hook)
    if (index >= 0) target.splice(index, 1)
  }
}

function wrapForward(module: Module, hooks: Hooks): void {
  const forward = module.forward
  const wrapped = (...given: unknown[]) => {
    let inputs: readonly unknown[] = given
    for (const hook of hooks.before) inputs = hook(module, inputs) ?? inputs
    let output = forward.apply(module, inputs as unknown[])
    for (const hook of hooks.after) output = hook(module, inputs, output) ?? output
    return output
  }
  Object.defineProperty(module, 'forward', { value: wrapped, configurable: true, writable: true, enumerable: false })
}
