const { join } = require('node:path')
const { nn, optim, tensor } = require('anneal')
const report = require('./report.cjs')

// A plane, 3a - 2b + 2, that a linear layer finds.
const rows = Array.from({ length: 64 }, (_, i) => [Math.sin(i), Math.cos(3 * i)])
const x = tensor(rows)
const y = tensor(rows.map(([a, b]) => [3 * a - 2 * b + 2]))

async function main() {
  const model = new nn.Sequential(new nn.Linear(2, 1))
  model.compile({ optimizer: new optim.Adam({ lr: 0.05 }), loss: 'mse', metrics: ['mae'] })
  const history = await model.fit(x, y, { epochs: 100, batchSize: 16, seed: 1, progress: false })

  const folder = join(__dirname, 'saved-by-commonjs')
  await nn.saveModel(folder, model)
  const saved = await nn.loadModel(folder)
  const predictions = await saved.model.predict(
    tensor([
      [1, -1],
      [-1, 2],
    ]),
  )
  report(history.metrics.loss, await predictions.flatten().toArray())
}

main()
