// Multi-task learning: one trunk learns to tell a wine's cultivar and, at the same time, its alcohol from the other measurements.
import { manualSeed, nn, optim, tensor } from 'anneal'
import { LabelEncoder, readCsv, StandardScaler } from 'anneal/data'

async function main(): Promise<void> {
  manualSeed(2)
  const table = await readCsv('data/wine.csv')
  const names = table.columnNames.filter(name => name !== 'cultivar' && name !== 'alcohol')
  const [train, test] = table.split([0.75, 0.25], { seed: 2, stratify: 'cultivar' })
  const scaler = new StandardScaler().fit(train.features(names))
  const alcohol = new StandardScaler().fit(train.features(['alcohol']))
  const labels = new LabelEncoder().fit(table.column('cultivar'))

  const input = nn.input([names.length])
  const trunk = nn.apply(new nn.Sequential(new nn.Linear(names.length, 32), new nn.ReLU()), input)
  const model = new nn.Graph({
    inputs: input,
    outputs: {
      cultivar: nn.apply(new nn.Linear(32, labels.classes.length), trunk),
      alcohol: nn.apply(new nn.Linear(32, 1), nn.apply(new nn.Linear(32, 32), trunk)),
    },
  })
  console.log(model.summary([1, names.length]))

  const examples = (rows: typeof table) => {
    const x = scaler.transform(rows.features(names))
    const degrees = alcohol.transform(rows.features(['alcohol']))
    return [
      tensor(x.data, { shape: x.shape }),
      {
        cultivar: tensor(labels.transform(rows.column('cultivar'))),
        alcohol: tensor(degrees.data, { shape: degrees.shape }),
      },
    ] as const
  }

  model.compile({
    optimizer: new optim.AdamW({ lr: 5e-3 }),
    loss: { cultivar: 'crossEntropy', alcohol: 'mse' },
    lossWeights: { cultivar: 1, alcohol: 0.5 },
    metrics: { cultivar: ['accuracy'], alcohol: ['r2'] },
  })
  await model.fit(...examples(train), { epochs: 40, batchSize: 16, seed: 2, validation: examples(test) })
  const results = await model.evaluate(...examples(test))
  for (const [name, value] of Object.entries(results)) console.log(`held-out ${name}: ${value.toFixed(3)}`)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
