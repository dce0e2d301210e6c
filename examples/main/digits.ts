import { manualSeed, nn, optim, type Tensor, tensor } from 'anneal'
import { readCsv } from 'anneal/data'
import { confirm } from './support'

/** Trains a small convolutional network on the digits, tests it on held-out images, and saves it. */
export async function trainDigits(folder: string): Promise<void> {
  manualSeed(7)
  const table = await readCsv('data/digits.csv')
  const pixels = table.columnNames.filter(name => name !== 'digit')
  const [train, validation, test] = table.split([0.75, 0.1, 0.15], { seed: 7, stratify: 'digit' })
  const examples = (rows: typeof table): [Tensor, Tensor] => {
    const { data } = rows.features(pixels)
    const images = Float32Array.from(data as Float32Array, value => value / 16)
    return [tensor(images, { shape: [rows.length, 8, 8, 1] }), tensor(Int32Array.from(rows.numbers('digit')))]
  }

  const model = new nn.Sequential(
    new nn.Conv2d(1, 32, 3, { padding: 1 }),
    new nn.BatchNorm2d(32),
    new nn.ReLU(),
    new nn.Conv2d(32, 64, 3, { padding: 1 }),
    new nn.BatchNorm2d(64),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Dropout(0.3),
    new nn.Linear(4 * 4 * 64, 10),
  )
  console.log(model.summary([1, 8, 8, 1]))

  const epochs = 15
  const steps = epochs * Math.ceil(train.length / 64)
  model.compile({ optimizer: new optim.AdamW({ lr: 3e-3 }), loss: 'crossEntropy', metrics: ['accuracy'] })
  await model.fit(...examples(train), {
    epochs,
    batchSize: 64,
    seed: 7,
    validation: examples(validation),
    schedule: new optim.CosineSchedule({ steps, warmUp: 20 }),
    report: `${folder}/report.html`,
    labels: Array.from({ length: 10 }, (_, digit) => String(digit)),
  })

  const { accuracy } = await model.evaluate(...examples(test))
  console.log(`On ${test.length} held-out images: accuracy ${(100 * accuracy!).toFixed(1)} %`)
  confirm('digits: accuracy on held-out images', accuracy!, 0.98)
  await nn.saveModel(folder, model, { config: { scale: 16 } })
}
