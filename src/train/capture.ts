import { type CompiledFunction, compile } from '../compile'
import { AnnealError } from '../errors'
import { hasHooks } from '../nn/hooks'
import type { Module } from '../nn/module'

/** A function of a model that runs as a captured graph where it can. */
export interface Captured<A extends readonly unknown[], R> {
  (...args: A): R
  dispose(): void
}

/**
 * `fn`, captured as a graph. A model with hooks, which are to be called every time, and one that cannot be captured run as
 * they are; of the latter a warning tells once.
 */
export function captured<A extends readonly unknown[], R>(
  model: Module,
  enabled: boolean,
  fn: (...args: A) => R,
): Captured<A, R> {
  let graph: CompiledFunction<A, R> | undefined = enabled ? compile(fn) : undefined
  const call = (...args: A): R => {
    if (!graph || model.modules().some(hasHooks)) return fn(...args)
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
