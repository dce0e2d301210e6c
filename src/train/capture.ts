import { type CompiledFunction, compile } from '../compile'
import { AnnealError } from '../errors'
import { held } from '../nn/attributes'
import { hasHooks } from '../nn/hooks'
import { Module } from '../nn/module'
import { Parameter } from '../tensor'

type Part = Module | Parameter

/** A function of a model that runs as a captured graph where it can. */
export interface Captured<A extends readonly unknown[], R> {
  (...args: A): R
  dispose(): void
}

/**
 * `fn`, captured as a graph, anew when the model is made of other modules, parameters or buffers. A model with hooks, which
 * are to be called every time, and one that cannot be captured run as they are; of the latter a warning tells once.
 */
export function captured<A extends readonly unknown[], R>(
  model: Module,
  enabled: boolean,
  fn: (...args: A) => R,
): Captured<A, R> {
  let graph: CompiledFunction<A, R> | undefined = enabled ? compile(fn) : undefined
  let parts: readonly Part[] = []
  const call = (...args: A): R => {
    if (!graph) return fn(...args)
    const now = partsOf(model)
    if (now.some(part => part instanceof Module && hasHooks(part))) return fn(...args)
    if (now.length !== parts.length || now.some((part, i) => part !== parts[i])) graph.dispose()
    parts = now
    try {
      return graph(...args)
    } catch (error) {
      if (!(error instanceof AnnealError && error.code === 'ERR_CAPTURE')) throw error
      graph.dispose()
      graph = undefined
      process.emitWarning(
        `${error.message}. The model runs without capturing, which is slower; ` +
          'pass { capture: false } to compile() to say that this is meant',
        'AnnealWarning',
      )
      return fn(...args)
    }
  }
  return Object.assign(call, { dispose: () => graph?.dispose() })
}

/** The modules, parameters and buffers that a model is made of, a module followed by what is in it. */
function partsOf(model: Module): Part[] {
  const parts: Part[] = []
  const seen = new Set<Module>()
  const visit = (module: Module) => {
    if (seen.has(module)) return
    seen.add(module)
    parts.push(module)
    for (const { value } of held(module)) {
      if (value instanceof Module) visit(value)
      else if (value instanceof Parameter) parts.push(value)
    }
  }
  visit(model)
  return parts
}
