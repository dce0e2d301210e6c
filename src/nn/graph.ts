import { noGrad } from '../autograd'
import type { DType } from '../dtype'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import { zeros } from '../ops.generated'
import { Tensor } from '../tensor'
import { shown, whole } from './check'
import type { ConfigValue } from './layer'
import { Module } from './module'

/** A module applied to nodes, or an input where there is no module. */
interface Step {
  /** Steps count up as they are made, so that each follows those that it depends on. */
  readonly number: number
  module: Module | undefined
  readonly inputs: readonly Node[]
}

let made = 0

/** A value in a functional graph: what {@link input} and {@link apply} give. */
export class Node {
  /** @internal */
  constructor(
    /** @internal */
    readonly step: Step,
    /** @internal Which of the step's outputs it is. */
    readonly index: number,
    /** The shape of one example: without the batch axis. */
    readonly shape: readonly number[],
    readonly dtype: DType,
  ) {}

  /** Applies modules, one after the other. */
  pipe(...modules: readonly Module[]): Node {
    return modules.reduce<Node>((node, module) => apply(module, node), this)
  }

  toString(): string {
    return `Node(${this.dtype}[${['N', ...this.shape]}])`
  }
}

/** One node, a list, or nodes by name; a graph takes and gives tensors in the same form. */
export type Nodes = Node | readonly Node[] | Readonly<Record<string, Node>>

/**
 * An input of a functional graph.
 * @param shape The shape of one example: without the batch axis.
 */
export function input(shape: readonly number[], options: { dtype?: DType } = {}): Node {
  for (const size of shape) whole('input', 'every size', size, 0)
  return new Node({ number: made++, module: undefined, inputs: [] }, 0, [...shape], options.dtype ?? 'float32')
}

/**
 * The output of `module` on nodes. A module applied twice shares its parameters. Shapes come from a trial run on zeros, so
 * that errors show here.
 * @throws ERR_VALUE when the module gives several outputs; use {@link applyAll}.
 */
export function apply(module: Module, ...inputs: readonly Node[]): Node {
  const outputs = applyAll(module, ...inputs)
  if (outputs.length === 1) return outputs[0]!
  throw new AnnealError(
    'ERR_VALUE',
    `apply: ${module.constructor.name} gives ${outputs.length} outputs; take those you want from applyAll()`,
  )
}

/** All outputs of `module` on nodes, for modules that give several; see {@link apply}. */
export function applyAll(module: Module, ...inputs: readonly Node[]): Node[] {
  for (const node of inputs) {
    if (!(node instanceof Node)) {
      throw new AnnealError(
        'ERR_VALUE',
        `apply: expected nodes, made by input() and apply(); got ${shown(node)} for ${module.constructor.name}`,
      )
    }
  }
  const step: Step = { number: made++, module, inputs }
  const outputs = trial(module, inputs)
  return outputs.map(({ shape, dtype }, index) => new Node(step, index, shape, dtype))
}

/** Shapes and dtypes of the outputs on a batch of one, in evaluation mode. */
function trial(module: Module, inputs: readonly Node[]): { shape: readonly number[]; dtype: DType }[] {
  const modes = module.modules().map((m): [Module, boolean] => [m, m.training])
  try {
    for (const [m] of modes) m.training = false
    let outputs: { shape: readonly number[]; dtype: DType }[] = []
    scope(() =>
      noGrad(() => {
        const zero = inputs.map(({ shape, dtype }) => zeros([1, ...shape], { dtype }))
        outputs = tensorsOf(module.forward(...zero)).map(t => ({ shape: t.shape.slice(1), dtype: t.dtype }))
      }),
    )
    return outputs
  } finally {
    for (const [m, mode] of modes) m.training = mode
  }
}

function tensorsOf(output: unknown): Tensor[] {
  if (output instanceof Tensor) return [output]
  if (Array.isArray(output)) return output.flatMap(tensorsOf)
  throw new AnnealError('ERR_VALUE', `apply: expected a module that gives tensors; got ${shown(output)}`)
}

/**
 * A model made of applied modules, with one or several inputs and outputs; `inputs` and `outputs` are each one node, a list,
 * or an object of names.
 *
 *     const x = nn.input([30])
 *     const trunk = x.pipe(new nn.Linear(30, 64), new nn.ReLU())
 *     const model = new nn.Graph({
 *       inputs: x,
 *       outputs: { kind: trunk.pipe(new nn.Linear(64, 3)), age: trunk.pipe(new nn.Linear(64, 1)) },
 *     })
 */
export class Graph extends Module {
  /** The modules, each once, in the order in which they were first applied. */
  readonly layers: Module[]
  readonly #inputs: Nodes
  readonly #outputs: Nodes
  readonly #steps: readonly Step[]

  /** @throws ERR_VALUE when an output depends on an input that is not listed, or a listed one is not used. */
  constructor(options: { inputs: Nodes; outputs: Nodes }) {
    super()
    this.#inputs = options.inputs
    this.#outputs = options.outputs
    const inputs = nodesOf(options.inputs, 'inputs')
    this.#steps = stepsBetween(inputs, nodesOf(options.outputs, 'outputs'))
    this.layers = [...new Set(this.#steps.map(step => step.module!))]
  }

  /** @internal Puts others into the places of modules; `layers` is left to the caller. */
  replaceModules(replacement: (module: Module) => Module): void {
    for (const step of this.#steps) step.module = replacement(step.module!)
  }

  /** Takes inputs as they were declared; named ones also by position. */
  // biome-ignore lint/suspicious/noExplicitAny: as the declared inputs and outputs
  forward(...given: any[]): any {
    const values = new Map<Step, readonly Tensor[]>()
    const inputs = nodesOf(this.#inputs, 'inputs')
    const tensors = this.#given(given, inputs)
    for (const [i, [, node]] of inputs.entries()) values.set(node.step, [tensors[i]!])
    const value = (node: Node) => values.get(node.step)![node.index]!
    for (const step of this.#steps) values.set(step, tensorsOf(step.module!.forward(...step.inputs.map(value))))
    return mapNodes(this.#outputs, value)
  }

  /** The tensors given, in the order of the inputs, checked against their shapes. */
  #given(given: readonly unknown[], inputs: readonly [string, Node][]): Tensor[] {
    const inOrder = given.length === inputs.length && given.every(t => t instanceof Tensor)
    const named = !inOrder && !(this.#inputs instanceof Node) && !Array.isArray(this.#inputs)
    const source = (named ? (given[0] ?? {}) : given) as Record<string, unknown>
    const count = named ? Object.keys(source).length : given.length
    if (count !== inputs.length) {
      const names = named ? ` (${inputs.map(([name]) => name).join(', ')})` : ''
      throw new AnnealError('ERR_VALUE', `Graph: expected ${inputs.length} inputs${names}; got ${count}`)
    }
    return inputs.map(([name, node], i) => {
      const tensor = named ? source[name] : given[i]
      if (!(tensor instanceof Tensor)) {
        throw new AnnealError('ERR_VALUE', `Graph: expected a tensor as input ${name || i}; got ${shown(tensor)}`)
      }
      if (tensor.shape.slice(1).join() !== node.shape.join() || tensor.ndim === 0) {
        throw new AnnealError(
          'ERR_SHAPE',
          `Graph: input ${name || i}: expected shape [${['N', ...node.shape]}]; got [${tensor.shape}]`,
        )
      }
      return tensor
    })
  }

  /** The graph as plain data; values are [step, output], inputs being the first steps. */
  config(): readonly ConfigValue[] {
    const inputs = nodesOf(this.#inputs, 'inputs')
    const numbers = new Map(inputs.map(([, node], i) => [node.step, i]))
    for (const step of this.#steps) numbers.set(step, numbers.size)
    const reference = (node: Node) => [numbers.get(node.step)!, node.index]
    return [
      {
        inputs: mapNodes<ConfigValue>(this.#inputs, ({ shape, dtype }) => ({ shape, dtype })) as ConfigValue,
        steps: this.#steps.map(({ module, inputs }) => ({ module, inputs: inputs.map(reference) })),
        outputs: mapNodes<ConfigValue>(this.#outputs, reference) as ConfigValue,
      },
    ]
  }

  /** A graph from what {@link config} gave. */
  static fromConfig(saved: SavedGraph): Graph {
    const inputs = mapSaved(saved?.inputs, isInput, ({ shape, dtype }) => input(shape, { dtype })) as Nodes
    const values: Node[][] = nodesOf(inputs, 'inputs').map(([, node]) => [node])
    const at = ([step, index]: Reference) => values[step]?.[index] ?? broken('outputs of earlier steps')
    for (const { module, inputs } of Array.isArray(saved.steps) ? saved.steps : broken('a list of steps')) {
      if (!(module instanceof Module) || !Array.isArray(inputs) || !inputs.every(isReference))
        broken('steps of modules')
      values.push(applyAll(module, ...inputs.map(at)))
    }
    return new Graph({ inputs, outputs: mapSaved(saved.outputs, isReference, at) as Nodes })
  }
}

type Reference = readonly [step: number, output: number]

interface SavedGraph {
  readonly inputs: unknown
  readonly steps: readonly { readonly module: Module; readonly inputs: readonly Reference[] }[]
  readonly outputs: unknown
}

function broken(expected: string): never {
  throw new AnnealError('ERR_FORMAT', `fromConfig: Graph: expected ${expected}`)
}

function isReference(value: unknown): value is Reference {
  return Array.isArray(value) && value.length === 2 && value.every(Number.isInteger)
}

function isInput(value: unknown): value is { shape: number[]; dtype: DType } {
  const { shape, dtype } = (value ?? {}) as Record<string, unknown>
  return Array.isArray(shape) && typeof dtype === 'string'
}

/** Maps what stands for a node, a list of nodes or nodes by name. */
function mapSaved<T>(saved: unknown, isOne: (v: unknown) => v is T, fn: (v: T) => Node): Nodes {
  if (isOne(saved)) return fn(saved)
  if (saved === null || typeof saved !== 'object') broken('inputs and outputs')
  const entries = Object.entries(saved).map(([name, v]): [string, Node] => [name, isOne(v) ? fn(v) : broken('nodes')])
  return Array.isArray(saved) ? entries.map(([, node]) => node) : Object.fromEntries(entries)
}

/** Nodes by name: '' for a lone one, positions for a list. */
function nodesOf(nodes: Nodes, what: string): [string, Node][] {
  if (nodes instanceof Node) return [['', nodes]]
  const entries = nodes !== null && typeof nodes === 'object' ? Object.entries(nodes) : []
  if (entries.length > 0 && entries.every(([, node]) => node instanceof Node)) return entries
  throw new AnnealError(
    'ERR_VALUE',
    `Graph: expected ${what} to be a node, a list of nodes or an object of nodes; got ${shown(nodes)}`,
  )
}

function mapNodes<T>(nodes: Nodes, fn: (node: Node) => T): T | T[] | Record<string, T> {
  if (nodes instanceof Node) return fn(nodes)
  if (Array.isArray(nodes)) return nodes.map(fn)
  return Object.fromEntries(Object.entries(nodes).map(([name, node]) => [name, fn(node)]))
}

/** The steps on which `outputs` depend, in an order in which they can run; inputs are not among them. */
function stepsBetween(inputs: readonly [string, Node][], outputs: readonly [string, Node][]): Step[] {
  const listed = new Set(inputs.map(([, node]) => node.step))
  const found = new Set<Step>()
  const used = new Set<Step>()
  for (const [name, output] of outputs) {
    const open = [output.step]
    for (let step = open.pop(); step; step = open.pop()) {
      if (listed.has(step)) {
        used.add(step)
      } else if (!step.module) {
        throw new AnnealError(
          'ERR_VALUE',
          `Graph: output ${name || 0} depends on an input that is not among the inputs; list it`,
        )
      } else if (!found.has(step)) {
        found.add(step)
        open.push(...step.inputs.map(node => node.step))
      }
    }
  }
  const idle = inputs.find(([, node]) => !used.has(node.step))
  if (idle) throw new AnnealError('ERR_VALUE', `Graph: input ${idle[0] || 0} is not connected to any output; remove it`)
  return [...found].sort((a, b) => a.number - b.number)
}
