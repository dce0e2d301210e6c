import { isPlainObject } from '../objects'

type Holder = Record<string, unknown>

/** An object that a module holds, other than arrays and plain objects, which are looked through. */
export interface Held {
  /** The way to it from the module: `head`, `blocks.0` or `heads.kind`. */
  readonly name: string
  readonly value: object
  /** Where it is: `holder[key]` is `value`. */
  readonly holder: Holder
  readonly key: string
}

/**
 * What is in attributes of `module` and in arrays that are attributes; then what is in plain objects and in further arrays
 * there. So a module that also stands among the options that an attribute keeps goes by its own name.
 */
export function* held(module: object): Generator<Held> {
  const deeper = new Map<object, string>()
  yield* heldIn(module as Holder, '', true, deeper)
  for (const [holder, path] of deeper) yield* heldIn(holder as Holder, `${path}.`, false, deeper)
}

/** Leaves to `deeper`, whose iteration goes on over what is added, what is not looked through here. */
function* heldIn(holder: Holder, prefix: string, arrays: boolean, deeper: Map<object, string>): Generator<Held> {
  for (const key of Object.keys(holder)) {
    const value = holder[key]
    if (typeof value !== 'object' || value === null) continue
    const name = prefix + key
    if (arrays && Array.isArray(value)) yield* heldIn(value as never, `${name}.`, false, deeper)
    else if (!Array.isArray(value) && !isPlainObject(value)) yield { name, value, holder, key }
    else if (!deeper.has(value)) deeper.set(value, name)
  }
}
