// A training loop written by hand: batches, learning-rate schedule, clipping, evaluation, best weights.
import { losses, manualSeed, nn, noGrad, optim, scope, tensor } from 'anneal'
import { fromArrays, LabelEncoder, readCsv, StandardScaler } from 'anneal/data'

async function main(): Promise<void> {
  manualSeed(3)
  const table = await readCsv('data/wine.csv')
  const names = table.columnNames.filter(name => name !== 'cultivar')
  const [train, test] = table.split([0.75, 0.25], { seed: 3, stratify: 'cultivar' })
  const scaler = new StandardScaler().fit(train.features(names))
  const labels = new LabelEncoder().fit(table.column('cultivar'))
  const examples = fromArrays(scaler.transform(train.features(names)), labels.transform(train.column('cultivar')))
  const batches = examples.shuffle({ seed: 3 }).batch(16).prefetch(2)
  const held = scaler.transform(test.features(names))
  const xTest = tensor(held)
  const yTest = tensor(labels.transform(test.column('cultivar')))

  const model = new nn.Sequential(
    new nn.Linear(names.length, 32),
    new nn.GELU(),
    new nn.Linear(32, labels.classes.length),
  )
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 })
  const schedule = new optim.OneCycleSchedule({ steps: 20 * batches.length! })
  const base = optimizer.lr
  let step = 0
  let best = { accuracy: 0, state: model.stateDict() }

  for (let epoch = 0; epoch < 20; epoch++) {
    model.train()
    for await (const [x, y] of batches) {
      optimizer.lr = base * schedule.factor(step++)
      // Everything made inside is freed at once, rather than when the garbage collector gets to it.
      scope(() => {
        optimizer.zeroGrad()
        losses.crossEntropy(model.forward(x), y).backward()
        optim.clipGradNorm(model.parameters(), 1)
        optimizer.step()
      })
    }
    model.eval()
    const correct = noGrad(() => model.forward(xTest))
      .argmax({ axis: -1 })
      .equal(yTest)
    const accuracy = await correct.cast('float32').mean().item()
    if (accuracy > best.accuracy) best = { accuracy, state: model.stateDict() }
    console.log(`epoch ${epoch + 1}: accuracy on held-out rows ${(100 * accuracy).toFixed(1)} %`)
  }
  model.loadStateDict(best.state)
  console.log(`best: ${(100 * best.accuracy).toFixed(1)} %`)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
