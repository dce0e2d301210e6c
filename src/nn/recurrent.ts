import { AnnealError } from '../errors'
import { concat, dropout, gru, lstm, narrow, rnn, stack } from '../ops.generated'
import type { Parameter, Tensor } from '../tensor'
import { needTensor, oneOf, shown, whole, within } from './check'
import { type ConfigValue, mostLayers, type WeightOptions } from './layer'
import { Module } from './module'
import { byFan } from './parameters'

export interface RecurrentOptions extends WeightOptions {
  /** The number of layers, each going through the outputs of the one before. Default: 1. */
  layers?: number
  /** Whether each layer also goes through the steps backwards, its outputs beside those of the way forwards. Default: false. */
  bidirectional?: boolean
  /** Whether there are biases. Default: true. */
  bias?: boolean
  /** The probability with which outputs between layers are dropped while training. Default: 0. */
  dropout?: number
}

/** How simple recurrent units are activated. */
export interface NonlinearityOptions {
  /** Default: 'tanh'. */
  nonlinearity?: 'tanh' | 'relu'
}

type Weights = readonly [weightIh: Tensor, weightHh: Tensor, biasIh?: Tensor, biasHh?: Tensor]
type State = Tensor | undefined

/** One direction of one layer: the outputs, then the last states [N, H]. */
type Run = (x: Tensor, weights: Weights, states: readonly State[], lengths: State, reverse: boolean) => Tensor[]

const runRnn =
  ({ nonlinearity }: NonlinearityOptions): Run =>
  (x, [wi, wh, bi, bh], [hidden], lengths, reverse) =>
    rnn(x, wi, wh, bi, bh, hidden, lengths, { nonlinearity, reverse })
const runGru: Run = (x, [wi, wh, bi, bh], [hidden], lengths, reverse) =>
  gru(x, wi, wh, bi, bh, hidden, lengths, { reverse })
const runLstm: Run = (x, [wi, wh, bi, bh], [hidden, cell], lengths, reverse) =>
  lstm(x, wi, wh, bi, bh, hidden, cell, lengths, { reverse })

/** What layers and single cells share: sizes, named weights, and being saved with their architecture. */
abstract class WithWeights extends Module {
  readonly #config: readonly ConfigValue[]

  constructor(
    readonly inputSize: number,
    readonly hiddenSize: number,
    options: WeightOptions,
  ) {
    super()
    const { regularizer, ...rest } = options
    this.#config = [inputSize, hiddenSize, ...(Object.keys(rest).length > 0 ? [rest] : [])]
    this.regularizer = regularizer
    whole(this.label, 'inputSize', inputSize)
    whole(this.label, 'hiddenSize', hiddenSize)
  }

  /** Arguments of the constructor that make a module like this one. */
  config(): readonly ConfigValue[] {
    return this.#config
  }

  override extraRepr(): string {
    return `${this.inputSize}, ${this.hiddenSize}`
  }

  protected get label(): string {
    return this.constructor.name
  }

  /** Makes the weights of one direction of one layer, as attributes named like PyTorch's. */
  protected addWeights(suffix: string, gates: number, inputs: number, bias: boolean): void {
    const rows = gates * this.hiddenSize
    const cells = this as unknown as Record<string, Parameter>
    cells[`weightIh${suffix}`] = byFan([rows, inputs], this.hiddenSize)
    cells[`weightHh${suffix}`] = byFan([rows, this.hiddenSize], this.hiddenSize)
    if (!bias) return
    cells[`biasIh${suffix}`] = byFan([rows], this.hiddenSize)
    cells[`biasHh${suffix}`] = byFan([rows], this.hiddenSize)
  }

  protected weights(suffix: string): Weights {
    const cells = this as unknown as Record<string, Tensor>
    return [
      cells[`weightIh${suffix}`]!,
      cells[`weightHh${suffix}`]!,
      cells[`biasIh${suffix}`],
      cells[`biasHh${suffix}`],
    ]
  }

  /** What an LSTM is given as its state. */
  protected bothStates(state: readonly [hidden: Tensor, cell: Tensor] | undefined): readonly State[] {
    if (state === undefined || Array.isArray(state)) return [state?.[0], state?.[1]]
    throw new AnnealError('ERR_VALUE', `${this.label}: expected the state as [hidden, cell]; got ${shown(state)}`)
  }

  protected checkShape(name: string, value: State, expected: readonly number[], axes: string): void {
    if (!value) return
    needTensor(`${this.label}: ${name}`, value)
    if (`${value.shape}` === `${expected}`) return
    throw new AnnealError(
      'ERR_SHAPE',
      `${this.label}: expected ${name} of shape ${axes} = [${expected}]; got [${value.shape}]`,
    )
  }
}

/**
 * Layers over sequences [N, T, inputSize]. Weights are `weightIh_l0` [gates * H, inputSize], `weightHh_l0` [gates * H, H],
 * `biasIh_l0` and `biasHh_l0` [gates * H], `_reverse` appended for the way backwards, `_l1` for the next layer, and so on:
 * PyTorch's names and layouts. All begin uniform within ±1/√H.
 */
abstract class Recurrent extends WithWeights {
  readonly layers: number
  readonly bidirectional: boolean
  readonly dropout: number
  readonly #run: Run

  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions, gates: number, run: Run) {
    super(inputSize, hiddenSize, options)
    this.layers = within(this.label, 'layers', whole(this.label, 'layers', options.layers ?? 1), 1, mostLayers)
    this.bidirectional = options.bidirectional ?? false
    this.dropout = within(this.label, 'dropout', options.dropout ?? 0, 0, 1)
    this.#run = run
    for (let layer = 0; layer < this.layers; layer++) {
      const inputs = layer === 0 ? inputSize : hiddenSize * this.#suffixes.length
      for (const suffix of this.#suffixes) this.addWeights(`_l${layer}${suffix}`, gates, inputs, options.bias ?? true)
    }
  }

  get #suffixes(): readonly string[] {
    return this.bidirectional ? ['', '_reverse'] : ['']
  }

  /** The outputs, and the last states [layers * directions, N, H]. */
  protected through(x: Tensor, states: readonly State[], lengths: State): [Tensor, Tensor[]] {
    needTensor(this.label, x)
    const [N] = x.shape
    const directions = this.#suffixes.length
    this.checkShape('x', x, [...x.shape.slice(0, 2), this.inputSize], '[N, T, inputSize]')
    const full = [this.layers * directions, N ?? 0, this.hiddenSize]
    for (const s of states) this.checkShape('states', s, full, '[layers * directions, N, hiddenSize]')
    const last: Tensor[][] = []
    let output = x
    for (let layer = 0; layer < this.layers; layer++) {
      if (layer > 0 && this.training && this.dropout > 0) output = dropout(output, { p: this.dropout })
      const results = this.#suffixes.map((suffix, d) => {
        const first = states.map(s => s && narrow(s, 0, last.length + d, 1).reshape(full.slice(1)))
        return this.#run(output, this.weights(`_l${layer}${suffix}`), first, lengths, d === 1)
      })
      output =
        directions === 1
          ? results[0]![0]!
          : concat(
              results.map(r => r[0]!),
              { axis: 2 },
            )
      last.push(...results.map(r => r.slice(1)))
    }
    return [output, last[0]!.map((_, i) => stack(last.map(s => s[i]!)))]
  }

  override extraRepr(): string {
    const shown = [`layers=${this.layers}`, ...(this.bidirectional ? ['bidirectional'] : [])]
    return [super.extraRepr(), ...shown].join(', ')
  }
}

/** Layers whose only state is their output. */
abstract class SingleState extends Recurrent {
  /**
   * @param x [N, T, inputSize].
   * @param hidden The state before the first step, [layers * directions, N, H]; zeros when absent.
   * @param lengths How many steps each row has, int64 [N]; later ones leave the state and give zeros.
   * @returns The outputs [N, T, directions * H], and the state after the last step, shaped like `hidden`.
   */
  forward(x: Tensor, hidden?: Tensor, lengths?: Tensor): [output: Tensor, hidden: Tensor] {
    const [output, [last]] = this.through(x, [hidden], lengths)
    return [output, last!]
  }
}

/** Simple recurrent layers: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu (Elman, 1990). */
export class RNN extends SingleState {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions & NonlinearityOptions = {}) {
    super(inputSize, hiddenSize, options, 1, runRnn(options))
    oneOf(this.label, 'nonlinearity', options.nonlinearity ?? 'tanh', ['tanh', 'relu'])
  }
}

/** Layers of gated recurrent units (Cho et al., 2014), as PyTorch defines them: the reset gate scales W_hn h + b_hn. */
export class GRU extends SingleState {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, options, 3, runGru)
  }
}

/** Layers of long short-term memory (Hochreiter and Schmidhuber, 1997; Gers et al., 2000). */
export class LSTM extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, options, 4, runLstm)
  }

  /**
   * @param x [N, T, inputSize].
   * @param state The hidden and the cell state before the first step, [layers * directions, N, H] each; zeros when absent.
   * @param lengths How many steps each row has, int64 [N]; later ones leave the states and give zeros.
   * @returns The outputs [N, T, directions * H], and both states after the last step.
   */
  forward(
    x: Tensor,
    state?: readonly [hidden: Tensor, cell: Tensor],
    lengths?: Tensor,
  ): [output: Tensor, state: [hidden: Tensor, cell: Tensor]] {
    const [output, last] = this.through(x, this.bothStates(state), lengths)
    return [output, last as [Tensor, Tensor]]
  }
}

export interface CellOptions extends WeightOptions {
  /** Whether there are biases. Default: true. */
  bias?: boolean
}

/** One step of a layer: weights `weightIh`, `weightHh`, `biasIh` and `biasHh`. */
abstract class Cell extends WithWeights {
  readonly #run: Run

  constructor(inputSize: number, hiddenSize: number, options: CellOptions, gates: number, run: Run) {
    super(inputSize, hiddenSize, options)
    this.#run = run
    this.addWeights('', gates, inputSize, options.bias ?? true)
  }

  /** The states [N, H] after the step. */
  protected step(x: Tensor, states: readonly State[]): Tensor[] {
    needTensor(this.label, x)
    this.checkShape('x', x, [x.shape[0] ?? 0, this.inputSize], '[N, inputSize]')
    const sequence = x.reshape([x.shape[0]!, 1, this.inputSize])
    return this.#run(sequence, this.weights(''), states, undefined, false).slice(1)
  }
}

/** Cells whose only state is their output. */
abstract class SingleStateCell extends Cell {
  /** From x [N, inputSize] and the state [N, H], zeros when absent, the state after the step. */
  forward(x: Tensor, hidden?: Tensor): Tensor {
    return this.step(x, [hidden])[0]!
  }
}

/** One step of {@link RNN}. */
export class RNNCell extends SingleStateCell {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions & NonlinearityOptions = {}) {
    super(inputSize, hiddenSize, options, 1, runRnn(options))
    oneOf(this.label, 'nonlinearity', options.nonlinearity ?? 'tanh', ['tanh', 'relu'])
  }
}

/** One step of {@link GRU}. */
export class GRUCell extends SingleStateCell {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(inputSize, hiddenSize, options, 3, runGru)
  }
}

/** One step of {@link LSTM}. */
export class LSTMCell extends Cell {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(inputSize, hiddenSize, options, 4, runLstm)
  }

  /** From x [N, inputSize] and both states [N, H], zeros when absent, the states after the step. */
  forward(x: Tensor, state?: readonly [hidden: Tensor, cell: Tensor]): [hidden: Tensor, cell: Tensor] {
    return this.step(x, this.bothStates(state)) as [Tensor, Tensor]
  }
}
