// The networks on Anneal: steps of training on one batch, and inference. A step is a plain function, eager or compiled.
import { anneal } from './anneal.mjs'
import { networks } from './models/index.mjs'

const { compile, io, noGrad, scope, synchronize } = anneal

/** What `compiled` asks for; undefined where this build has no compile. */
function variant(step, compiled) {
  if (!compiled) return step
  return compile?.(step)
}

function training({ loss, batch, optimizer: optimizerOf }, model, options, compiled) {
  const optimizer = optimizerOf(model.parameters())
  const examples = batch(options)
  const step = variant((...examples) => {
    optimizer.zeroGrad()
    const value = loss(model, ...examples)
    value.backward()
    optimizer.step()
    return value
  }, compiled)
  return (
    step &&
    (async iterations => {
      const first = []
      for (let i = 0; i < iterations; i++) {
        const value = scope(() => step(...examples))
        if (first.length < 2) first.push(await value.item())
        // Two steps ahead of the device, as fit is.
        if (i % 2 === 1) await value.ready()
        value.dispose()
      }
      await synchronize()
      return first
    })
  )
}

function inference({ inputs }, model, options, compiled) {
  model.eval()
  const given = inputs(options)
  const step = variant((...inputs) => model.forward(...inputs), compiled)
  return (
    step &&
    (async iterations => {
      let first
      for (let i = 0; i < iterations; i++) {
        const result = scope(() => noGrad(() => step(...given)))
        const values = await result.data()
        first ??= Array.from(values.subarray(0, 8))
        result.dispose()
      }
      return first
    })
  )
}

/** A function that runs `iterations` steps of a network and gives the first losses, or the first of the first results. */
export async function prepareNetwork({ network: name, train, weights, options }, compiled) {
  const network = networks[name]
  const model = network.model(options)
  await io.loadPytorch(weights, model)
  globalThis.gc?.() // what loading held
  await synchronize()
  anneal.emptyCache()
  return (train ? training : inference)(network, model, options, compiled)
}
