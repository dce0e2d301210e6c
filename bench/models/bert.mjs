// BERT-base (Devlin et al., 2019) with a classifier of two classes. Dropout is off, so that losses can be compared.
import { anneal } from '../anneal.mjs'
import { adamW, asPublished, choices } from './inputs.mjs'

const { arange, losses, narrow, nn, reshape, tanh } = anneal
const [size, heads, vocabulary, positions, classes] = [768, 12, 30522, 512, 2]

class Bert extends nn.Module {
  constructor(layers) {
    super()
    this.tokens = new nn.Embedding(vocabulary, size)
    this.places = new nn.Embedding(positions, size)
    this.types = new nn.Embedding(2, size)
    this.norm = new nn.LayerNorm(size, { eps: 1e-12 })
    const options = { feedForward: 4 * size, activation: 'gelu', dropout: 0, eps: 1e-12 }
    this.encoder = new nn.TransformerEncoder(size, heads, layers, options)
    this.pooler = new nn.Linear(size, size)
    this.classifier = new nn.Linear(size, classes)
  }

  /** Indices [N, T] and their types [N, T] to logits [N, classes]. */
  forward(x, types) {
    const places = this.places.forward(arange(x.shape[1], { dtype: 'int32' }))
    const embedded = this.tokens.forward(x).add(places).add(this.types.forward(types))
    const hidden = this.encoder.forward(this.norm.forward(embedded))
    const first = reshape(narrow(hidden, 1, 0, 1), [-1, size])
    return this.classifier.forward(tanh(this.pooler.forward(first)))
  }
}

const inputs = ({ batch, sequence }) => [choices([batch, sequence], 1, vocabulary), choices([batch, sequence], 2, 2)]

export default {
  model: ({ layers }) => asPublished(new Bert(layers)),
  inputs,
  batch: options => [...inputs(options), choices([options.batch], 3, classes)],
  loss: (model, x, types, y) => losses.crossEntropy(model.forward(x, types), y),
  optimizer: adamW,
}
