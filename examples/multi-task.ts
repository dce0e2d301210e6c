// Multi-task learning: one trunk learns to tell a wine's cultivar and, at the same time, its alcohol from the other measurements.
import { manualSeed, nn, optim, tensor } from 'anneal'
import { LabelEncoder, readCsv, StandardScaler } from 'anneal/data'
import { EarlyStopping } from 'anneal/train'

async function main(): Promise<void> {
  manualSeed(2)
  const table = await readCsv('data/wine.csv')
  const names = table.columnNames.filter(name => name !== 'cultivar' && name !== 'alcohol')
  const [train, validation, test] = table.split([0.6, 0.2, 0.2], { seed: 2, stratify: 'cultivar' })
  const scaler = new StandardScaler().fit(train.features(names))
  const alcohol = new StandardScaler().fit(train.features(['alcohol']))
  const labels = new LabelEncoder().fit(table.column('cultivar'))

  const input = nn.input([names.length])
  const trunk = nn.apply(new nn.Sequential(new nn.Linear(names.length, 32), new nn.ReLU(), new nn.Dropout(0.2)), input)
  const model = new nn.Graph({
    inputs: input,
    outputs: {
      cultivar: nn.apply(new nn.Linear(32, labels.classes.length), trunk),
      alcohol: nn.apply(new nn.Linear(32, 1), trunk),
    },
  })
  console.log(model.summary([1, names.length]))

  const examples = (rows: typeof table) => {
    const x = scaler.transform(rows.features(names))
    const degrees = alcohol.transform(rows.features(['alcohol']))
    return [
      tensor(x),
      {
        cultivar: tensor(labels.transform(rows.column('cultivar'))),
        alcohol: tensor(degrees),
      },
    ] as const
  }

  model.compile({
    optimizer: new optim.AdamW({ lr: 5e-3 }),
    loss: { cultivar: 'crossEntropy', alcohol: 'mse' },
    lossWeights: { cultivar: 1, alcohol: 0.5 },
    metrics: { cultivar: ['accuracy'], alcohol: ['r2'] },
  })
  await model.fit(...examples(train), {
    epochs: 60,
    batchSize: 16,
    seed: 2,
    validation: examples(validation),
    callbacks: [new EarlyStopping({ patience: 10, restoreBest: true })],
  })
  const results = await model.evaluate(...examples(test))
  console.log(`On ${test.length} held-out wines:`)
  console.log(`  cultivar: accuracy ${(100 * results['cultivar.accuracy']!).toFixed(1)} %`)
  console.log(`  alcohol:  R² ${results['alcohol.r2']!.toFixed(3)}`)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
