// Linear regression in the PyTorch style: how diabetes progresses in a year, from ten measurements.
import { losses, manualSeed, nn, noGrad, optim, type Tensor, tensor } from 'anneal'
import { readCsv, StandardScaler } from 'anneal/data'

class LinearRegression extends nn.Module {
  readonly linear: nn.Linear

  constructor(features: number) {
    super()
    this.linear = new nn.Linear(features, 1)
  }

  forward(x: Tensor): Tensor {
    return this.linear.forward(x).squeeze({ axis: -1 })
  }
}

async function main(): Promise<void> {
  manualSeed(0)
  const table = await readCsv('data/diabetes.csv')
  const names = table.columnNames.filter(name => name !== 'progression')
  const [train, test] = table.split([0.8, 0.2], { seed: 0 })
  const scaler = new StandardScaler().fit(train.features(names))
  const examples = (rows: typeof table): [Tensor, Tensor] => {
    const features = scaler.transform(rows.features(names))
    return [tensor(features), tensor(Float32Array.from(rows.numbers('progression')))]
  }
  const [x, y] = examples(train)
  const [xTest, yTest] = examples(test)

  const model = new LinearRegression(names.length)
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 })
  for (let epoch = 0; epoch < 200; epoch++) {
    optimizer.zeroGrad()
    const loss = losses.mse(model.forward(x), y)
    loss.backward()
    optimizer.step()
    if (epoch % 40 === 0) console.log(`epoch ${epoch}: mean squared error ${(await loss.item()).toFixed(1)}`)
  }

  const predicted = noGrad(() => model.forward(xTest))
  const errors = await losses.mse(predicted, yTest).item()
  const variance = await yTest.sub(yTest.mean()).square().mean().item()
  console.log(`held-out rows: R² ${(1 - errors / variance).toFixed(3)}`)
  const weights = await model.linear.weight.data()
  for (const [i, name] of names.entries())
    console.log(`  ${name.padEnd(4)} ${Number(weights[i]).toFixed(1).padStart(7)}`)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
