// A training step by hand, as one captured graph: the same losses as without, in less time; and what the graph does.
import { compile, losses, manualSeed, nn, optim, randomNormal, type Tensor } from 'anneal'

const inputs = 64
const batch = 32

/** A model, and a step of its training as a plain function. */
function training(): (x: Tensor, y: Tensor) => Tensor {
  manualSeed(7)
  const model = new nn.Sequential(new nn.Linear(inputs, 128), new nn.GELU(), new nn.Dropout(0.1), new nn.Linear(128, 1))
  const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 })
  return (x, y) => {
    const loss = losses.mse(model.forward(x), y)
    loss.backward()
    optim.clipGradNorm(model.parameters(), 1)
    optimizer.step()
    optimizer.zeroGrad()
    return loss
  }
}

async function run(step: (x: Tensor, y: Tensor) => Tensor, steps: number): Promise<{ losses: number[]; ms: number }> {
  manualSeed(8)
  const weight = randomNormal([inputs, 1])
  const results: Tensor[] = []
  const start = performance.now()
  for (let i = 0; i < steps; i++) {
    const x = randomNormal([batch, inputs])
    results.push(step(x, x.matmul(weight)))
  }
  const values = await Promise.all(results.map(t => t.item()))
  return { losses: values, ms: performance.now() - start }
}

async function main(): Promise<void> {
  const steps = 300
  const plain = await run(training(), steps)
  const step = compile(training())
  const captured = await run(step, steps)

  console.log(`one by one: ${plain.ms.toFixed(0)} ms, captured: ${captured.ms.toFixed(0)} ms for ${steps} steps`)
  console.log(`loss ${captured.losses[0]!.toFixed(3)} -> ${captured.losses.at(-1)!.toFixed(3)}`)
  const apart = Math.max(...plain.losses.map((loss, i) => Math.abs(loss - captured.losses[i]!) / loss))
  console.log(`largest relative difference: ${apart.toExponential(1)}`)
  if (!(apart < 1e-3)) throw new Error('the captured step does not do what the plain one does')

  const explanation = await step.explain(randomNormal([batch, inputs]), randomNormal([batch, 1]))
  console.log(`\n${explanation}`)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
