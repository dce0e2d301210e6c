import { readFileSync } from 'node:fs'
import { compile, losses, nn, optim, type Tensor, tensor } from 'anneal'
import { readCsv } from 'anneal/data'
import { expect, test } from 'vitest'

// make.py beside this file trained the same networks in PyTorch, from the same weights on the same batches.
const golden = JSON.parse(readFileSync(new URL('losses.json', import.meta.url), 'utf8')) as Record<string, number[]>
const batch = 64

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

async function follow(
  model: nn.Module,
  optimizer: optim.Optimizer,
  shape: readonly number[],
  way: Way,
): Promise<number[]> {
  fill(model)
  const train = way((x, y) => {
    optimizer.zeroGrad()
    const loss = losses.crossEntropy(model.forward(x), y)
    loss.backward()
    optimizer.step()
    return loss
  })
  const table = await readCsv('data/digits.csv')
  const pixels = table.features(table.columnNames.filter(name => name !== 'digit')).data
  const digits = table.numbers('digit')
  const found: number[] = []
  for (let step = 0; step < 100; step++) {
    const rows = Array.from({ length: batch }, (_, i) => (step * batch + i) % table.length)
    const x = Float32Array.from(
      rows.flatMap(row => Array.from(pixels.subarray(row * 64, row * 64 + 64), v => Number(v) / 16)),
    )
    const y = tensor(Int32Array.from(rows, row => digits[row]!))
    found.push(await train(tensor(x, { shape: [batch, ...shape] }), y).item())
  }
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

test.each(ways)('a dense network follows PyTorch for 100 steps of AdamW, %s', async (_, way) => {
  const model = new nn.Sequential(
    new nn.Linear(64, 128),
    new nn.ReLU(),
    new nn.Linear(128, 64),
    new nn.GELU(),
    new nn.Linear(64, 10),
  )
  agree(await follow(model, new optim.AdamW(model.parameters(), { lr: 1e-3 }), [64], way), 'mlp')
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
  agree(await follow(model, new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 }), [8, 8, 1], way), 'cnn')
})

test.each(ways)('an LSTM of two layers follows PyTorch for 100 steps of Adam, %s', async (_, way) => {
  const model = new Recurrent()
  agree(await follow(model, new optim.Adam(model.parameters(), { lr: 2e-3 }), [8, 8], way), 'lstm')
})
