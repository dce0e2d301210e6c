// GPT-2, 124 million parameters (Radford et al., 2019), trained to predict the next token.
import { anneal } from '../anneal.mjs'
import { adamW, asPublished, choices } from './inputs.mjs'

const { arange, linearCrossEntropy, nn } = anneal
const [size, heads, vocabulary, positions] = [768, 12, 50257, 1024]

class Block extends nn.Module {
  norm1 = new nn.LayerNorm(size)
  attention = new nn.MultiHeadAttention(size, heads)
  norm2 = new nn.LayerNorm(size)
  linear1 = new nn.Linear(size, 4 * size)
  activation = new nn.GELU({ approximate: 'tanh' })
  linear2 = new nn.Linear(4 * size, size)

  forward(x) {
    const attended = x.add(this.attention.forward(this.norm1.forward(x), { causal: true }))
    const hidden = this.activation.forward(this.linear1.forward(this.norm2.forward(attended)))
    return attended.add(this.linear2.forward(hidden))
  }
}

class Gpt2 extends nn.Module {
  constructor(layers) {
    super()
    this.tokens = new nn.Embedding(vocabulary, size)
    this.places = new nn.Embedding(positions, size)
    this.blocks = Array.from({ length: layers }, () => new Block())
    this.norm = new nn.LayerNorm(size)
  }

  /** Indices [N, T] to the values [N, T, size] before the head, which is the embedding of the tokens. */
  forward(x) {
    const places = this.places.forward(arange(x.shape[1], { dtype: 'int32' }))
    const hidden = this.blocks.reduce((h, block) => block.forward(h), this.tokens.forward(x).add(places))
    return this.norm.forward(hidden)
  }
}

export default {
  model: ({ layers }) => asPublished(new Gpt2(layers)),
  batch: ({ batch, sequence }) => [1, 2].map(number => choices([batch, sequence], number, vocabulary)),
  loss: (model, x, y) => linearCrossEntropy(model.forward(x), model.tokens.weight, y),
  optimizer: adamW,
}
