// A training run that is killed without warning, and goes on from its checkpoint as if nothing had happened: the weights at
// the end are the same, bit for bit, as those of a run that was left alone.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { manualSeed, nn, optim, tensor } from 'anneal'
import { LabelEncoder, readCsv, StandardScaler } from 'anneal/data'
import { ModelCheckpoint } from 'anneal/train'

const epochs = 30

/** Trains, going on from the checkpoint in `folder` if there is one; gives a digest of the weights. */
async function train(folder: string): Promise<string> {
  manualSeed(11)
  const table = await readCsv('data/wine.csv')
  const names = table.columnNames.filter(name => name !== 'cultivar')
  const features = new StandardScaler().fitTransform(table.features(names))
  const classes = new LabelEncoder().fitTransform(table.column('cultivar'))
  const model = new nn.Sequential(new nn.Linear(13, 64), new nn.ReLU(), new nn.Dropout(0.2), new nn.Linear(64, 3))
  model.compile({ optimizer: new optim.Adam({ lr: 1e-3 }), loss: 'crossEntropy', metrics: ['accuracy'] })
  const history = await model.fit(tensor(features), tensor(classes), {
    epochs,
    batchSize: 16,
    progress: false,
    callbacks: [new ModelCheckpoint(folder, { everySteps: 5 })],
    resume: folder,
  })
  const hash = createHash('sha256')
  for (const value of Object.values(model.stateDict())) hash.update(await value.bytes())
  const accuracy = history.metrics.accuracy!.at(-1)!
  return `weights ${hash.digest('hex').slice(0, 16)}, accuracy ${accuracy.toFixed(4)}, ${history.epochs} epochs`
}

/** Runs this program as a child that trains into `folder`; kills it when `killAfter` milliseconds have passed since its first checkpoint. */
async function run(folder: string, killAfter?: number): Promise<string | undefined> {
  const child = spawn(process.execPath, [__filename, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (text: Buffer) => {
    output += text
  })
  const ended = new Promise<void>(resolve => child.on('close', () => resolve()))
  if (killAfter !== undefined) {
    while (!existsSync(folder)) await pause(5)
    await pause(killAfter)
    child.kill('SIGKILL')
  }
  await ended
  return output.trim() || undefined
}

async function main(): Promise<void> {
  if (process.argv[2]) return console.log(await train(process.argv[2]))
  const folders = ['output/resume/undisturbed', 'output/resume/killed']
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
  const expected = await run(folders[0]!)
  console.log(`left alone:       ${expected}`)
  let kills = 0
  let result: string | undefined
  for (const wait of [60, 110, 160, undefined]) {
    result = await run(folders[1]!, wait)
    if (result) break
    kills++
  }
  console.log(`killed ${kills} times:   ${result}`)
  if (result !== expected) throw new Error('the resumed run ended with other weights')
  console.log('The same, bit for bit.')
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
