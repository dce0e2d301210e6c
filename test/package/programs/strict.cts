import { nn, optim, tensor } from 'anneal'
import report from './report.cjs'

async function main() {
  const rows = Array.from({ length: 64 }, (_, i): [number, number] => [Math.sin(i), Math.cos(3 * i)])
  const model = new nn.Sequential(new nn.Linear(2, 1))
  model.compile({ optimizer: new optim.Adam({ lr: 0.05 }), loss: 'mse' })
  const y = tensor(rows.map(([a, b]) => [3 * a - 2 * b + 2]))
  const history = await model.fit(tensor(rows), y, { epochs: 100, batchSize: 16, progress: false })
  const predictions = await model.predict(
    tensor([
      [1, -1],
      [-1, 2],
    ]),
  )
  report(history.loss, Array.from(await predictions.data()))
}

main()
