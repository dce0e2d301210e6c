import { noGrad } from '../autograd'
import { Dataset } from '../data'
import { AnnealError } from '../errors'
import { keep, scope } from '../lifetime'
import type { Module } from '../nn/module'
import { concat } from '../ops.generated'
import { Tensor } from '../tensor'
import { entriesOf, examplesIn, forwardOf } from './bundle'
import { feed, trainingBatch } from './feed'
import { Means } from './meter'
import { paired } from './objective'
import type { Logs } from './progress'
import type { Compiled } from './trainer'
import type { Bundle, EvaluateOptions, Examples, PredictOptions } from './types'

/** Loss and metrics over data, in evaluation mode, which the model leaves as it was. */
export async function evaluate(
  model: Module,
  compiled: Compiled,
  examples: Examples,
  options: EvaluateOptions,
): Promise<Logs> {
  const data = await feed(examples, undefined, { batchSize: options.batchSize, shuffle: false, seed: 0 })
  const means = new Means()
  const meters = compiled.meters()
  meters.reset()
  let batches = 0
  await inEvaluation(model, async () => {
    for await (const element of data.iterate({ signal: options.signal })) {
      const [inputs, targets, weights] = trainingBatch(element)
      scope(() => {
        const outputs = noGrad(() => forwardOf(model, inputs))
        const { total, parts } = noGrad(() => compiled.objective.compute(outputs, targets, weights))
        means.add(
          [['loss', total], ...parts.map(([key, l]): [string, Tensor] => [`${key}.loss`, l])],
          examplesIn(inputs, 'inputs'),
        )
        meters.update(paired(outputs, targets))
      })
      if (++batches % 2 === 0) await means.values()
    }
  })
  if (batches === 0) throw new AnnealError('ERR_VALUE', 'evaluate: the data gave no batches')
  return { ...(await means.values()), ...(await meters.values()) }
}

/** The model's outputs for all inputs, in evaluation mode, joined along the first axis. */
export async function predict(
  model: Module,
  inputs: Bundle | Dataset<unknown>,
  options: PredictOptions,
): Promise<Bundle> {
  const outputs: Bundle[] = []
  await inEvaluation(model, async () => {
    for await (const batch of inputBatches(inputs, options)) {
      const output = scope(() => noGrad(() => forwardOf(model, batch)))
      outputs.push(output)
      await entriesOf(output, 'outputs')[0]![1].ready()
    }
  })
  if (outputs.length === 0) throw new AnnealError('ERR_VALUE', 'predict: there are no inputs')
  return joined(outputs)
}

async function* inputBatches(inputs: Bundle | Dataset<unknown>, options: PredictOptions): AsyncGenerator<Bundle> {
  if (inputs instanceof Dataset) {
    const data = options.batchSize === undefined ? inputs : inputs.batch(options.batchSize)
    for await (const element of data.iterate({ signal: options.signal })) yield element as Bundle
    return
  }
  const count = examplesIn(inputs, 'inputs')
  const size = options.batchSize ?? 32
  for (let start = 0; start < count; start += size) {
    if (options.signal?.aborted) throw new AnnealError('ERR_ABORTED', 'predict: aborted through its signal')
    yield sliced(inputs, start, Math.min(count, start + size))
  }
}

function sliced(bundle: Bundle, start: number, end: number): Bundle {
  if (bundle instanceof Tensor) return bundle.index({ start, end })
  const parts = entriesOf(bundle, 'inputs').map(([key, t]): [string, Tensor] => [key, t.index({ start, end })])
  return Array.isArray(bundle) ? parts.map(([, t]) => t) : Object.fromEntries(parts)
}

function joined(outputs: readonly Bundle[]): Bundle {
  const first = outputs[0]!
  if (outputs.length === 1) return first
  const join = (key: string) =>
    keep(
      concat(
        outputs.map(o => new Map(entriesOf(o, 'outputs')).get(key)!),
        { axis: 0 },
      ),
    )
  if (first instanceof Tensor) return join('')
  const parts = entriesOf(first, 'outputs').map(([key]): [string, Tensor] => [key, join(key)])
  return Array.isArray(first) ? parts.map(([, t]) => t) : Object.fromEntries(parts)
}

async function inEvaluation(model: Module, work: () => Promise<void>): Promise<void> {
  const before = new Map(model.modules().map(m => [m, m.training]))
  model.eval()
  try {
    await work()
  } finally {
    for (const [module, mode] of before) module.training = mode
  }
}
