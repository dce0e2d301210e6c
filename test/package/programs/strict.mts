import { losses, metrics, nn, optim, type Tensor, tensor } from 'anneal'
import { StandardScaler } from 'anneal/data'
import { type Callback, EarlyStopping } from 'anneal/train'
import report from './report.cjs'

const rows = Array.from({ length: 64 }, (_, i): [number, number] => [Math.sin(i), Math.cos(3 * i)])
const y: Tensor = tensor(rows.map(([a, b]) => [3 * a - 2 * b + 2]))

class Plane extends nn.Module {
  readonly linear = new nn.Linear(2, 1)

  forward(x: Tensor): Tensor {
    return this.linear.forward(x)
  }
}

async function main(): Promise<void> {
  const scaler = new StandardScaler().fit(rows)
  const scaled = (values: readonly (readonly number[])[]): Tensor => {
    const { data, shape } = scaler.transform(values)
    return tensor(data, { shape })
  }
  const epochs: number[] = []
  const counter: Callback = { epochEnd: training => void epochs.push(training.epoch) }
  const model = new Plane()
  model.compile({
    optimizer: new optim.Adam({ lr: 0.05 }),
    loss: (predicted, target) => losses.huber(predicted, target),
    metrics: [new metrics.MeanAbsoluteError()],
  })
  const history = await model.fit(scaled(rows), y, {
    epochs: 120,
    batchSize: 16,
    seed: 1,
    progress: false,
    callbacks: [new EarlyStopping({ monitor: 'loss', patience: 20 }), counter],
  })
  if (epochs.length !== history.epochs) throw new Error(`${epochs.length} of ${history.epochs} epochs were seen`)
  const predictions: Tensor = await model.predict(
    scaled([
      [1, -1],
      [-1, 2],
    ]),
  )
  report(history.metrics.loss ?? [], await predictions.flatten().toArray())
}

main()
