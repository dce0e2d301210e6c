import { readFileSync } from 'node:fs'
import { arange, compile, linear, losses, nn, optim, type Tensor, tensor } from 'anneal'
import { readCsv } from 'anneal/data'
import { expect, test } from 'vitest'

// make.py beside this file trained the same networks in PyTorch, from the same weights on the same batches.
const golden = JSON.parse(readFileSync(new URL('losses.json', import.meta.url), 'utf8')) as Record<string, number[]>
const count = 64

/** The formula of make.py, in PyTorch's layout, brought into ours. */
function fill(model: nn.Module): void {
  let number = 0
  for (const [, parameter, owner, attribute] of model.namedCells()) {
    if (!parameter.trainable) continue
    const layout = (owner.constructor as { pytorch?: Record<string, readonly number[]> }).pytorch?.[attribute]
    const shape = layout ? layout.map(axis => parameter.shape[axis]!) : [...parameter.shape]
    const bound = 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1))
    const size = shape.reduce((a, b) => a * b, 1)
    const values = Float32Array.from(
      { length: size },
      (_, i) => (((i * 7919 + number * 104729) % 1000) / 500 - 1) * bound,
    )
    const ours = tensor(values, { shape })
    parameter.assign(layout ? ours.permute(layout.map((_, axis) => layout.indexOf(axis))) : ours)
    number++
  }
}

type Way = (step: (x: Tensor, y: Tensor) => Tensor) => (x: Tensor, y: Tensor) => Tensor

/** Steps may run call by call, or as a captured graph. */
const ways: [string, Way][] = [
  ['eager', step => step],
  ['captured', step => compile(step)],
]

type Batches = (step: number) => [Tensor, Tensor]

/** Pixels, from 0 to 16, and digits of the examples `step * size` and so on, from the beginning again after the last. */
async function digits(): Promise<(step: number, size: number) => { pixels: Int32Array[]; labels: Int32Array }> {
  const table = await readCsv('data/digits.csv')
  const pixels = Int32Array.from(
    table.features(table.columnNames.filter(name => name !== 'digit')).data as Iterable<number>,
  )
  const labels = table.numbers('digit')
  return (step, size) => {
    const rows = Array.from({ length: size }, (_, i) => (step * size + i) % table.length)
    return {
      pixels: rows.map(row => pixels.subarray(row * 64, row * 64 + 64)),
      labels: Int32Array.from(rows, row => labels[row]!),
    }
  }
}

async function images(shape: readonly number[]): Promise<Batches> {
  const examples = await digits()
  return step => {
    const { pixels, labels } = examples(step, count)
    const x = Float32Array.from(pixels.flatMap(row => Array.from(row, v => v / 16)))
    return [tensor(x, { shape: [count, ...shape] }), tensor(labels)]
  }
}

// As in make.py.
const [sequencesAtOnce, length, first, vocabulary, size, heads, layers] = [8, 32, 16, 17, 32, 4, 2]

/** Tokens, and as targets those that follow or the digits. */
async function sequences(causal: boolean): Promise<Batches> {
  const examples = await digits()
  return step => {
    const { pixels, labels } = examples(step, sequencesAtOnce)
    const part = (from: number) =>
      Int32Array.from(pixels.flatMap(row => Array.from(row.subarray(first + from, first + from + length))))
    return [tensor(part(0), { shape: [sequencesAtOnce, length] }), tensor(causal ? part(1) : labels)]
  }
}

async function follow(model: nn.Module, optimizer: optim.Optimizer, batches: Batches, way: Way): Promise<number[]> {
  fill(model)
  const train = way((x, y) => {
    optimizer.zeroGrad()
    const loss = losses.crossEntropy(model.forward(x), y)
    loss.backward()
    optimizer.step()
    return loss
  })
  const found: number[] = []
  for (let step = 0; step < 100; step++) found.push(await train(...batches(step)).item())
  return found
}

function agree(found: readonly number[], name: string): void {
  for (const [step, expected] of golden[name]!.entries()) {
    const error = Math.abs(found[step]! - expected) / expected
    expect(error, `${name}: step ${step}: expected ${expected}, got ${found[step]}`).toBeLessThan(1e-4)
  }
}

class Recurrent extends nn.Module {
  readonly lstm = new nn.LSTM(8, 48, { layers: 2 })
  readonly head = new nn.Linear(48, 10)

  forward(x: Tensor): Tensor {
    return this.head.forward(this.lstm.forward(x)[0].index('...', -1, {}))
  }
}

/** A layer that normalises before what it adds. */
class GptBlock extends nn.Module {
  readonly attention = new nn.MultiHeadAttention(size, heads)
  readonly linear1 = new nn.Linear(size, 4 * size)
  readonly linear2 = new nn.Linear(4 * size, size)
  readonly norm1 = new nn.LayerNorm(size)
  readonly norm2 = new nn.LayerNorm(size)

  forward(x: Tensor): Tensor {
    const attended = x.add(this.attention.forward(this.norm1.forward(x), undefined, undefined, { causal: true }))
    return attended.add(this.linear2.forward(this.linear1.forward(this.norm2.forward(attended)).gelu()))
  }
}

/** Predicts the next token, with the tokens' embedding as head. */
class Gpt extends nn.Module {
  readonly tokens = new nn.Embedding(vocabulary, size)
  readonly places = new nn.Embedding(length, size)
  readonly blocks = Array.from({ length: layers }, () => new GptBlock())
  readonly norm = new nn.LayerNorm(size)

  forward(x: Tensor): Tensor {
    const embedded = this.tokens.forward(x).add(this.places.forward(arange(length, { dtype: 'int32' })))
    const hidden = this.blocks.reduce((h, block) => block.forward(h), embedded)
    return linear(this.norm.forward(hidden), this.tokens.weight).reshape([-1, vocabulary])
  }
}

/** Tells the digit from what is at the first place. */
class Bert extends nn.Module {
  readonly tokens = new nn.Embedding(vocabulary, size)
  readonly places = new nn.Embedding(length, size)
  readonly encoder = new nn.TransformerEncoder(size, heads, layers, {
    feedForward: 4 * size,
    activation: 'gelu',
    dropout: 0,
  })
  readonly head = new nn.Linear(size, 10)

  forward(x: Tensor): Tensor {
    const embedded = this.tokens.forward(x).add(this.places.forward(arange(length, { dtype: 'int32' })))
    return this.head.forward(this.encoder.forward(embedded).index('...', 0, {}))
  }
}

test.each(ways)('a dense network follows PyTorch for 100 steps of AdamW, %s', async (_, way) => {
  const model = new nn.Sequential(
    new nn.Linear(64, 128),
    new nn.ReLU(),
    new nn.Linear(128, 64),
    new nn.GELU(),
    new nn.Linear(64, 10),
  )
  agree(await follow(model, new optim.AdamW(model.parameters(), { lr: 1e-3 }), await images([64]), way), 'mlp')
})

test.each(ways)('a convolutional network with batch norm follows PyTorch for 100 steps of SGD, %s', async (_, way) => {
  const model = new nn.Sequential(
    new nn.Conv2d(1, 16, 3, { padding: 1 }),
    new nn.BatchNorm2d(16),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(16, 32, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Linear(512, 10),
  )
  agree(
    await follow(model, new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 }), await images([8, 8, 1]), way),
    'cnn',
  )
})

test.each(ways)('an LSTM of two layers follows PyTorch for 100 steps of Adam, %s', async (_, way) => {
  const model = new Recurrent()
  agree(await follow(model, new optim.Adam(model.parameters(), { lr: 2e-3 }), await images([8, 8]), way), 'lstm')
})

test.each(ways)('a small GPT follows PyTorch for 100 steps of AdamW, %s', async (_, way) => {
  const model = new Gpt()
  agree(await follow(model, new optim.AdamW(model.parameters(), { lr: 1e-3 }), await sequences(true), way), 'gpt')
})

test.each(ways)('a small BERT follows PyTorch for 100 steps of AdamW, %s', async (_, way) => {
  const model = new Bert()
  agree(await follow(model, new optim.AdamW(model.parameters(), { lr: 1e-3 }), await sequences(false), way), 'bert')
})
