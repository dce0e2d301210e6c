// The networks on Anneal: steps of training on one batch, and inference. A step is a plain function, eager or compiled.
import { setTimeout as sleep } from 'node:timers/promises'
import { anneal } from './anneal.mjs'
import { networks } from './models/index.mjs'
import { ahead } from './worker.mjs'

const { autocast, compile, io, narrow, nn, noGrad, scope, synchronize } = anneal

/** Part `i` of `count` of a batch. */
const part = (x, i, count) => narrow(x, 0, (i * x.shape[0]) / count, x.shape[0] / count)

/**
 * Backpropagates the mean of `lossOf` over `count` parts of a batch, one after the other, as is done where memory does not hold the
 * activations of all; returns the mean.
 */
function inParts(lossOf, examples, count) {
  let total
  for (let i = 0; i < count; i++) {
    const value = lossOf(...(count > 1 ? examples.map(x => part(x, i, count)) : examples))
    const mean = count > 1 ? value.div(count) : value
    mean.backward()
    total = total ? total.add(mean) : mean
  }
  return total
}

/** A plain function that trains one step or infers, and the batch that it takes. */
export function stepOf({ network: name, train, options, autocast: dtype }, model) {
  const { batch, inputs, loss, optimizer: optimizerOf } = networks[name]
  const mixed = fn => (dtype ? autocast(fn, { dtype }) : fn())
  if (!train) {
    model.eval()
    return [(...given) => mixed(() => model.forward(...given)), inputs(options)]
  }
  const optimizer = optimizerOf(model.parameters())
  const step = (...examples) => {
    const value = inParts((...some) => mixed(() => loss(model, ...some)), examples, options.micro ?? 1)
    optimizer.step()
    optimizer.zeroGrad() // at the end, so that gradients are not kept over the next forward pass
    return value
  }
  return [step, batch(options)]
}

/** Gives the losses of the first two steps of all; later ones are not read. */
function training(step, examples) {
  const { wait, rest } = ahead(2) // as fit is
  let steps = 0
  return async iterations => {
    const first = []
    for (let i = 0; i < iterations; i++) {
      const value = scope(() => step(...examples))
      if (steps++ < 2) first.push(await value.item())
      await wait(value)
      value.dispose()
    }
    await rest()
    await synchronize()
    return first
  }
}

const inference = (step, inputs) => async iterations => {
  let first
  for (let i = 0; i < iterations; i++) {
    const result = scope(() => noGrad(() => step(...inputs)))
    const values = await result.data()
    first ??= Array.from(values.subarray(0, 8))
    result.dispose()
  }
  return first
}

/** Gives back the memory of what is not used any more. */
async function giveBack() {
  await synchronize()
  globalThis.gc?.()
  await sleep(20) // finalizers run in tasks of their own
  anneal.emptyCache()
}

/** A function that runs `iterations` steps of a network and gives the first losses, or the first of the first results. */
export async function prepareNetwork(workload, { compiled, int8 }) {
  const model = networks[workload.network].model(workload.options)
  await io.loadPytorch(workload.weights, model)
  await giveBack()
  if (int8) {
    // As after loading a file of int8 weights: what float ones held is given back.
    const file = `${workload.weights}.int8`
    await io.saveSafetensors(file, nn.quantize(model).stateDict())
    model.loadStateDict(await io.loadSafetensors(file))
    await giveBack()
  }
  const [step, batch] = stepOf(workload, model)
  return (workload.train ? training : inference)(compiled ? compile(step) : step, batch)
}
