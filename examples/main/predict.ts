// The second process of the main job: it has nothing but the saved models and new inputs.
import { nn, tensor } from 'anneal'
import { LabelEncoder, readCsv, StandardScaler } from 'anneal/data'

/** Benign or malignant, with the probability, for some rows of the table. */
async function predictTumours(folder: string): Promise<void> {
  const steps = { features: StandardScaler, labels: LabelEncoder }
  const { model, preprocessing, config } = await nn.loadModel(folder, { preprocessing: steps })
  const { columns } = config as { columns: string[] }
  const { features: scaler, labels } = preprocessing
  const table = await readCsv('data/breast_cancer.csv')
  const features = scaler.transform(table.features(columns))
  const logits = await model.predict(features)
  const probabilities = await logits.sigmoid().data()
  for (const row of [0, 19, 100, 300, 568]) {
    const malignant = Number(probabilities[row])
    const label = labels.classes[malignant > 0.5 ? 1 : 0]
    const sure = Math.max(malignant, 1 - malignant)
    console.log(
      `  biopsy ${String(row).padStart(3)}: ${label}, ${(100 * sure).toFixed(1)} % sure (truth: ${table.column('diagnosis')[row]})`,
    )
  }
}

/** The digit in each of some images, with the probability. */
async function predictDigits(folder: string): Promise<void> {
  const { model, config } = await nn.loadModel(folder)
  const { scale } = config as { scale: number }
  const table = await readCsv('data/digits.csv')
  const { data } = table.features(table.columnNames.filter(name => name !== 'digit'))
  const images = Float32Array.from(data as Float32Array, value => value / scale)
  const logits = await model.predict(tensor(images, { shape: [table.length, 8, 8, 1] }))
  const [best, digits] = logits.softmax({ axis: -1 }).topK(1)
  const [sure, classes] = [await best.data(), await digits.data()]
  for (const row of [0, 37, 500, 1234, 1796]) {
    console.log(draw(images.subarray(row * 64, row * 64 + 64)))
    console.log(
      `  reads ${classes[row]}, ${(100 * Number(sure[row])).toFixed(1)} % sure (truth: ${table.numbers('digit')[row]})\n`,
    )
  }
}

/** An image of 8×8 values from 0 to 1 in characters, two rows to a line. */
function draw(image: Float32Array): string {
  const dark = (row: number, column: number) => image[row * 8 + column]! > 0.4
  const glyph = (row: number, column: number) => {
    if (dark(row, column)) return dark(row + 1, column) ? '█' : '▀'
    return dark(row + 1, column) ? '▄' : ' '
  }
  const line = (row: number) => `  ${Array.from({ length: 8 }, (_, column) => glyph(row, column)).join('')}`
  return [0, 2, 4, 6].map(line).join('\n')
}

async function main(): Promise<void> {
  await predictTumours('output/breast-cancer')
  await predictDigits('output/digits')
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
