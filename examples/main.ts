// Anneal's main job, from data to predictions: two models are trained on real data with a progress bar, judged on rows they
// have never seen, saved, and used by a second process.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { trainBreastCancer } from './main/breast-cancer'
import { trainDigits } from './main/digits'

async function main(): Promise<void> {
  const start = performance.now()
  console.log('1. Is a tumour malignant? A dense network on 30 measurements of 569 biopsies.')
  await trainBreastCancer('output/breast-cancer')
  console.log('\n2. Which digit was written? A convolutional network on 1,797 images of 8×8 pixels.')
  await trainDigits('output/digits')
  console.log('\n3. A fresh process loads both models and predicts.')
  const { status } = spawnSync(process.execPath, [join(__dirname, 'main', 'predict.js')], { stdio: 'inherit' })
  if (status !== 0) throw new Error(`the predicting process ended with status ${status}`)
  console.log(`\nDone in ${((performance.now() - start) / 1000).toFixed(1)} s. Reports: output/*/report.html`)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
