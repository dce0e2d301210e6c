import { losses, nn, noGrad, optim, tensor } from 'anneal'
import { fromArrays } from 'anneal/data'
import report from './report.cjs'

const rows = Array.from({ length: 64 }, (_, i) => [Math.sin(i), Math.cos(3 * i)])
const targets = rows.map(([a, b]) => [3 * a - 2 * b + 2])
const batches = fromArrays(rows, targets).shuffle({ seed: 1 }).batch(16)

const model = new nn.Linear(2, 1)
const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
const history = []
for (let epoch = 0; epoch < 50; epoch++) {
  for await (const [x, y] of batches) {
    optimizer.zeroGrad()
    const loss = losses.mse(model.forward(x), y)
    loss.backward()
    optimizer.step()
    history.push(await loss.item())
  }
}
const predictions = noGrad(() =>
  model.forward(
    tensor([
      [1, -1],
      [-1, 2],
    ]),
  ),
)
report(history, await predictions.flatten().toArray())
