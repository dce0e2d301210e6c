// Anneal's side of the benchmarks.
import { createRequire } from 'node:module'
import { formula, serve } from '../worker.mjs'

const anneal = createRequire(import.meta.url)('../../dist/index.js')
const { nn, optim, losses, scope, tensor, synchronize } = anneal
anneal.setThreads(Number(process.env.BENCH_THREADS))

function fill(model) {
  let number = 0
  for (const [, parameter, owner, attribute] of model.namedCells()) {
    if (!parameter.trainable) continue
    const layout = owner.constructor.pytorch?.[attribute]
    const shape = layout ? layout.map(axis => parameter.shape[axis]) : [...parameter.shape]
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1)
    const values = tensor(formula(parameter.size, number++, 1 / Math.sqrt(fanIn)), { shape })
    parameter.assign(layout ? values.permute(layout.map((_, axis) => layout.indexOf(axis))) : values)
  }
}

/** Steps of training on one batch; `lossOf` gives the loss. */
function training(model, optimizer, lossOf) {
  fill(model)
  return async iterations => {
    let first
    for (let i = 0; i < iterations; i++) {
      const loss = scope(() => {
        optimizer?.zeroGrad()
        const loss = lossOf()
        loss.backward()
        optimizer?.step()
        if (!optimizer) model.zeroGrad()
        return loss
      })
      first ??= await loss.item()
      // Two steps ahead of the device, as fit is.
      if (i % 2 === 1) await loss.ready()
      loss.dispose()
    }
    await synchronize()
    return first
  }
}

const input = (shape, number) =>
  tensor(
    formula(
      shape.reduce((a, b) => a * b, 1),
      number,
      1,
    ),
    { shape },
  )
const classes = (count, of) => tensor(Int32Array.from({ length: count }, (_, i) => (i * 7) % of))

function product(m, k, n) {
  const [a, b] = [input([m, k], 1), input([k, n], 2)]
  return async iterations => {
    for (let i = 0; i < iterations; i++) {
      const c = a.matmul(b)
      if (i % 8 === 7) await c.ready()
      c.dispose()
    }
    await synchronize()
  }
}

await serve(
  { name: 'Anneal', version: '0.1.0', threads: anneal.getThreads() },
  {
    add4: async () => {
      const [a, b] = [tensor([1, 2, 3, 4]), tensor([1, 2, 3, 4])]
      return async iterations => {
        let c
        for (let i = 0; i < iterations; i++) {
          c = a.add(b)
          if (i % 1000 === 999) await c.data()
        }
        await c.data()
      }
    },
    mm64: async () => {
      const [a, b] = [input([64, 64], 1).requireGrad(), input([64, 64], 2).requireGrad()]
      return async iterations => {
        for (let i = 0; i < iterations; i++) {
          scope(() => {
            a.grad = undefined
            b.grad = undefined
            a.matmul(b).relu().sum().backward()
          })
          if (i % 100 === 99) await a.grad.data()
        }
        await synchronize()
      }
    },
    matmul1024: async () => product(1024, 1024, 1024),
    matmul2048: async () => product(2048, 768, 3072),
    tinyMlp: async () => {
      const model = new nn.Sequential(new nn.Linear(2, 16), new nn.Tanh(), new nn.Linear(16, 1))
      const [x, y] = [input([32, 2], 5), input([32, 1], 6)]
      return training(model, new optim.SGD(model.parameters(), { lr: 0.01 }), () => losses.mse(model.forward(x), y))
    },
    mlp: async () => {
      const model = new nn.Sequential(
        new nn.Linear(784, 512),
        new nn.ReLU(),
        new nn.Linear(512, 512),
        new nn.ReLU(),
        new nn.Linear(512, 10),
      )
      const [x, y] = [input([128, 784], 5), classes(128, 10)]
      return training(model, new optim.AdamW(model.parameters(), { lr: 1e-4 }), () =>
        losses.crossEntropy(model.forward(x), y),
      )
    },
    cnn: async () => {
      const model = new nn.Sequential(
        new nn.Conv2d(1, 32, 3, { padding: 1 }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Conv2d(32, 64, 3, { padding: 1 }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Flatten(),
        new nn.Linear(3136, 10),
      )
      const [x, y] = [input([64, 28, 28, 1], 5), classes(64, 10)]
      return training(model, new optim.AdamW(model.parameters(), { lr: 1e-4 }), () =>
        losses.crossEntropy(model.forward(x), y),
      )
    },
    lstm: async () => {
      const model = new nn.LSTM(512, 512)
      const x = input([64, 64, 512], 5)
      return training(model, undefined, () => model.forward(x)[0].square().mean())
    },
  },
)
