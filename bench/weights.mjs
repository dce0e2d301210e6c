// node weights.mjs FILE WORKLOAD: initial weights of a workload's network, as PyTorch has them; prints { parameters }.
import { anneal } from './anneal.mjs'
import { networks } from './models/index.mjs'

const [, , file, workload] = process.argv
const { network, options } = JSON.parse(workload)
anneal.manualSeed(1)
const model = networks[network].model(options)
await anneal.io.savePytorch(file, model)
process.stdout.write(`${JSON.stringify({ parameters: model.countParameters() })}\n`)
