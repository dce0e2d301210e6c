import { AnnealError } from '../errors'
import { concat as join } from '../ops.generated'
import type { Tensor } from '../tensor'
import { needTensor } from './check'
import { apply, type Node } from './graph'
import { Layer } from './layer'

/** Layers of several inputs, for functional graphs. */
abstract class Merge extends Layer {
  forward(...inputs: Tensor[]): Tensor {
    if (inputs.length === 0) throw new AnnealError('ERR_VALUE', `${this.label}: expected one input or more; got none`)
    for (const x of inputs) needTensor(this.label, x)
    return this.merge(inputs)
  }
  protected abstract merge(inputs: Tensor[]): Tensor
}

/** The sum of all inputs. */
export class Add extends Merge {
  protected merge(inputs: Tensor[]): Tensor {
    return inputs.reduce((a, b) => a.add(b))
  }
}

/** The first input less the second. */
export class Subtract extends Layer {
  forward(a: Tensor, b: Tensor): Tensor {
    needTensor(this.label, a)
    needTensor(this.label, b)
    return a.sub(b)
  }
}

/** The product of all inputs, element by element. */
export class Multiply extends Merge {
  protected merge(inputs: Tensor[]): Tensor {
    return inputs.reduce((a, b) => a.mul(b))
  }
}

/** All inputs one after the other along an axis, by default the last. */
export class Concat extends Merge {
  constructor(readonly options: { axis?: number } = {}) {
    super(options)
  }
  protected merge(inputs: Tensor[]): Tensor {
    return join(inputs, { axis: this.options.axis ?? -1 })
  }
}

/** The sum of nodes. */
export function add(...nodes: readonly Node[]): Node {
  return apply(new Add(), ...nodes)
}

/** A node less another. */
export function subtract(a: Node, b: Node): Node {
  return apply(new Subtract(), a, b)
}

/** The product of nodes, element by element. */
export function multiply(...nodes: readonly Node[]): Node {
  return apply(new Multiply(), ...nodes)
}

/** Nodes one after the other along an axis of the batch, by default the last. */
export function concat(nodes: readonly Node[], options: { axis?: number } = {}): Node {
  return apply(new Concat(options), ...nodes)
}
