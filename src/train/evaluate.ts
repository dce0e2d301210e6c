import { noGrad } from '../autograd'
import { tensor } from '../creation'
import { Dataset, type NdArray } from '../data'
import { isNdArray } from '../data/ndarray'
import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import type { Module } from '../nn/module'
import { concat } from '../ops.generated'
import type { Tensor } from '../tensor'
import {
  checkRows,
  disposeAll,
  entriesOf,
  examplesIn,
  forwardOf,
  gpuOf,
  inEvaluation,
  mapBundle,
  placed,
  sliced,
} from './bundle'
import { type Captured, captured } from './capture'
import type { Compiled } from './compile'
import { batchesOf, inputBatch, ranges } from './feed'
import { Means } from './meter'
import { paired } from './objective'
import type { Logs } from './progress'
import type { Bundle, EvaluateOptions, Examples, PredictOptions, TrainingBatch } from './types'

// Batches whose values may be outstanding.
const inFlight = 2

type Judge = Captured<[Bundle, Bundle, Tensor | undefined], { outputs: Bundle; losses: [string, Tensor][] }>
type Predictor = Captured<[Bundle], Bundle>

// Captured once, and used by every evaluation and prediction as long as the model lives.
const judges = new WeakMap<Compiled, Judge>()
const predictors = new WeakMap<Module | Compiled, Predictor>()

function judgeOf(model: Module, compiled: Compiled): Judge {
  let judge = judges.get(compiled)
  if (!judge) {
    judge = captured(model, compiled.capture, (inputs, targets, weights) => {
      const outputs = forwardOf(model, inputs, compiled.autocast)
      return { outputs, losses: compiled.objective.compute(outputs, targets, weights) }
    })
    judges.set(compiled, judge)
  }
  return judge
}

function predictorOf(model: Module, compiled: Compiled | undefined): Predictor {
  const owner = compiled ?? model
  let predictor = predictors.get(owner)
  if (!predictor) {
    predictor = captured(model, compiled?.capture ?? true, inputs => forwardOf(model, inputs, compiled?.autocast))
    predictors.set(owner, predictor)
  }
  return predictor
}

/** Loss and metrics over data, in evaluation mode; see `Module.evaluate`. Errors begin with `where`. */
export async function evaluate(
  model: Module,
  compiled: Compiled,
  examples: Examples,
  options: EvaluateOptions,
  where = 'evaluate',
): Promise<Logs> {
  const modules = model.modules()
  const means = new Means()
  const meters = compiled.meters()
  const compute = judgeOf(model, compiled)
  const gpu = gpuOf(model)
  const judge = (batch: TrainingBatch) => {
    const [inputs, targets, weights] = batch.map(part => placed(part, gpu)) as unknown as TrainingBatch
    const { outputs, losses } = inEvaluation(modules, () => compute(inputs, targets, weights))
    means.add(losses, examplesIn(inputs, 'inputs'))
    meters.update(paired(outputs, targets))
  }
  let batches = 0
  try {
    for await (const batch of batchesOf(examples, options, where)) {
      scope(() => noGrad(() => judge(batch)))
      if (++batches % inFlight === 0) await means.values()
    }
    if (batches === 0) throw new AnnealError('ERR_VALUE', `${where}: the data gave no batches`)
    const logs = { ...(await means.values()), ...(await meters.values()) }
    await meters.handOver()
    return logs
  } finally {
    means.reset()
    meters.reset()
  }
}

/** The model's outputs for all inputs, in evaluation mode, joined along the first axis; see `Module.predict`. */
export async function predict(
  model: Module,
  inputs: Bundle | NdArray | Dataset<unknown>,
  options: PredictOptions,
  compiled: Compiled | undefined,
): Promise<Bundle> {
  const forward = predictorOf(model, compiled)
  const modules = model.modules()
  const outputs: Bundle[] = []
  // Detached, so that each output is a tensor of its own even where the model hands through an input or a parameter.
  const gpu = gpuOf(model)
  const compute = (batch: Bundle) =>
    scope(() =>
      mapBundle(
        noGrad(() => inEvaluation(modules, () => forward(placed(batch, gpu)))),
        t => t.detach(),
      ),
    )
  try {
    for await (const batch of inputBatches(inputs, options)) {
      const output = compute(batch)
      outputs.push(output)
      checkRows(output, examplesIn(batch, 'inputs'))
      if (outputs.length % inFlight === 0) await entriesOf(output, 'outputs')[0]![1].ready()
    }
    if (outputs.length === 0) throw new AnnealError('ERR_VALUE', 'predict: there are no inputs')
    return joined(outputs)
  } finally {
    disposeAll(outputs)
  }
}

async function* inputBatches(
  inputs: Bundle | NdArray | Dataset<unknown>,
  options: PredictOptions,
): AsyncGenerator<Bundle> {
  if (isNdArray(inputs)) {
    const made = tensor(inputs)
    yield* inputBatches(made, options)
    made.dispose()
    return
  }
  const { batchSize, signal } = options
  if (!(inputs instanceof Dataset)) {
    for (const [start, end] of ranges(examplesIn(inputs, 'predict: inputs'), options, 'predict')) {
      const batch = sliced(inputs, start, end)
      yield batch
      disposeAll([batch])
    }
    return
  }
  const data: Dataset<unknown> = batchSize === undefined ? inputs : inputs.batch(batchSize)
  for await (const element of data.iterate({ signal })) {
    const batch = inputBatch(element, 'predict')
    yield batch
    if (batchSize !== undefined) disposeAll([batch])
  }
}

function joined(outputs: readonly Bundle[]): Bundle {
  const first = outputs[0]!
  if (outputs.length === 1) return mapBundle(first, t => t.detach())
  const maps = outputs.map(output => new Map(entriesOf(output, 'outputs')))
  return mapBundle(first, (_, key) =>
    concat(
      maps.map(map => map.get(key)!),
      { axis: 0 },
    ),
  )
}
