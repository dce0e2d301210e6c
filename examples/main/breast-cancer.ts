import { nn, optim } from 'anneal'
import { LabelEncoder, readCsv, StandardScaler } from 'anneal/data'
import { EarlyStopping } from 'anneal/train'
import { confirm, tensors } from './support'

/** Trains on the breast-cancer table, tests on held-out rows, and saves the model with all that prediction needs. */
export async function trainBreastCancer(folder: string): Promise<void> {
  const table = await readCsv('data/breast_cancer.csv')
  const names = table.columnNames.filter(name => name !== 'diagnosis')
  const [train, validation, test] = table.split([0.7, 0.15, 0.15], { seed: 1, stratify: 'diagnosis' })

  const scaler = new StandardScaler().fit(train.features(names)) // the training rows alone: the others stay unseen
  const labels = new LabelEncoder(['benign', 'malignant'])
  const examples = (rows: typeof table) =>
    tensors(scaler.transform(rows.features(names)), Float32Array.from(labels.transform(rows.column('diagnosis'))))

  const model = new nn.Sequential(
    new nn.Linear(30, 128),
    new nn.ReLU(),
    new nn.Dropout(0.3),
    new nn.Linear(128, 64),
    new nn.ReLU(),
    new nn.Linear(64, 1),
    new nn.Flatten({ startAxis: 0 }),
  )
  console.log(model.summary([1, 30]))

  model.compile({
    optimizer: new optim.AdamW({ lr: 1e-3, weightDecay: 0.01 }),
    loss: 'bceWithLogits',
    metrics: ['accuracy', 'rocAuc'],
  })
  await model.fit(...examples(train), {
    epochs: 60,
    batchSize: 32,
    seed: 1,
    validation: examples(validation),
    callbacks: [new EarlyStopping({ patience: 15, restoreBest: true })],
    report: `${folder}/report.html`,
    labels: labels.classes.map(String),
  })

  const { loss, accuracy, rocAuc } = await model.evaluate(...examples(test))
  console.log(
    `On ${test.length} held-out rows: accuracy ${percent(accuracy)}, area under ROC ${rocAuc!.toFixed(4)}, loss ${loss!.toFixed(4)}`,
  )
  confirm('breast cancer: accuracy on held-out rows', accuracy!, 0.96)
  await nn.saveModel(folder, model, { preprocessing: { features: scaler, labels }, config: { columns: names } })
}

const percent = (part: number | undefined): string => `${(100 * part!).toFixed(1)} %`
