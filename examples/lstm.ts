// An LSTM on a real sequence: it learns to continue a text, the licence of this project, letter by letter.
import { readFile } from 'node:fs/promises'
import { losses, manualSeed, nn, noGrad, optim, scope, type Tensor, tensor } from 'anneal'

class LanguageModel extends nn.Module {
  readonly embedding: nn.Embedding
  readonly lstm: nn.LSTM
  readonly head: nn.Linear

  constructor(letters: number) {
    super()
    this.embedding = new nn.Embedding(letters, 32)
    this.lstm = new nn.LSTM(32, 128)
    this.head = new nn.Linear(128, letters)
  }

  /** Logits of the next letter [N, T, letters] for letters [N, T]. */
  forward(letters: Tensor): Tensor {
    const [output] = this.lstm.forward(this.embedding.forward(letters))
    return this.head.forward(output)
  }
}

const window = 64
const rows = 32

async function main(): Promise<void> {
  manualSeed(5)
  const text = (await readFile('LICENSE', 'utf8')).replaceAll(/\s+/g, ' ')
  const alphabet = [...new Set(text)].sort()
  const codes = Int32Array.from(text, letter => alphabet.indexOf(letter))
  const split = Math.floor(codes.length * 0.9)
  const model = new LanguageModel(alphabet.length)
  const optimizer = new optim.Adam(model.parameters(), { lr: 4e-3 })

  for (let step = 1; step <= 300; step++) {
    const starts = Array.from({ length: rows }, (_, i) => (step * 7919 + i * 104729) % (split - window - 1))
    const loss = scope(() => {
      const [x, y] = windows(codes, starts)
      optimizer.zeroGrad()
      const loss = losses.crossEntropy(model.forward(x), y)
      loss.backward()
      optim.clipGradNorm(model.parameters(), 1)
      optimizer.step()
      return loss
    })
    if (step % 50 === 0) console.log(`step ${step}: loss ${(await loss.item()).toFixed(3)}`)
    loss.dispose()
  }

  const held = Array.from({ length: 8 }, (_, i) => split + i * Math.floor((codes.length - split - window - 1) / 8))
  const [x, y] = windows(codes, held)
  const loss = await noGrad(() => losses.crossEntropy(model.forward(x), y)).item()
  console.log(`text it has not seen: perplexity ${Math.exp(loss).toFixed(2)} of ${alphabet.length} letters`)
  console.log(`continued: ${await continued(model, alphabet, 'You may ', 80)}`)
}

/** Windows of the text and the same one letter further on. */
function windows(codes: Int32Array, starts: readonly number[]): [Tensor, Tensor] {
  const shifted = (by: number) => {
    const data = Int32Array.from(starts.flatMap(start => [...codes.subarray(start + by, start + by + window)]))
    return tensor(data, { shape: [starts.length, window] })
  }
  return [shifted(0), shifted(1)]
}

/** The text with the most probable letters after it, one at a time. */
async function continued(
  model: LanguageModel,
  alphabet: readonly string[],
  start: string,
  count: number,
): Promise<string> {
  let text = start
  for (let i = 0; i < count; i++) {
    const codes = Int32Array.from(text.slice(-window), letter => alphabet.indexOf(letter))
    using next = scope(() =>
      noGrad(() =>
        model
          .forward(tensor(codes, { shape: [1, codes.length] }))
          .index(0, -1)
          .argmax(),
      ),
    )
    text += alphabet[await next.item()]
  }
  return text
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
