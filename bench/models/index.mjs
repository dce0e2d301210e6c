// The networks that are trained and run. Each has
//   model(options)          made with initial weights
//   batch(options)          what `loss` takes beside the model; inputs(options), what `forward` takes, where inference is measured
//   loss(model, ...batch)   a scalar
//   optimizer(parameters)
// and a counterpart of the same name in Python, in the file beside it.
import bert from './bert.mjs'
import gpt2 from './gpt2.mjs'
import resnet50 from './resnet50.mjs'
import { cnn, lstm, mlp, tinyMlp } from './small.mjs'

export const networks = { bert, cnn, gpt2, lstm, mlp, resnet50, tinyMlp }
