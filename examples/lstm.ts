// An LSTM on a real sequence: it learns to continue a text, the licence of this project, letter by letter.
import { readFile } from 'node:fs/promises'
import { losses, manualSeed, nn, noGrad, optim, randomUniform, scope, type Tensor, tensor } from 'anneal'

class LanguageModel extends nn.Module {
  readonly embedding: nn.Embedding
  readonly lstm: nn.LSTM
  readonly dropout = new nn.Dropout(0.3)
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
    return this.head.forward(this.dropout.forward(output))
  }
}

const window = 64
const rows = 32

async function main(): Promise<void> {
  manualSeed(5)
  const text = (await readFile('LICENSE', 'utf8')).replaceAll(/\s+/g, ' ')
  const alphabet = [...new Set(text)].sort()
  const codes = Int32Array.from(text, letter => alphabet.indexOf(letter))
  // A section from the middle is held out: the end of the licence, an appendix, is unlike the rest.
  const [from, to] = [Math.floor(codes.length * 0.6), Math.floor(codes.length * 0.7)]
  const learnt = [...positions(0, from), ...positions(to, codes.length)]
  const held = positions(from, to).filter((_, i) => i % window === 0)
  const model = new LanguageModel(alphabet.length)
  const optimizer = new optim.Adam(model.parameters(), { lr: 4e-3 })

  for (let step = 1; step <= 400; step++) {
    const starts = Array.from({ length: rows }, (_, i) => learnt[(step * 7919 + i * 104729) % learnt.length]!)
    const loss = scope(() => {
      const [x, y] = windows(codes, starts)
      optimizer.zeroGrad()
      const loss = losses.crossEntropy(model.forward(x), y)
      loss.backward()
      optim.clipGradNorm(model.parameters(), 1)
      optimizer.step()
      return loss
    })
    if (step % 80 === 0) console.log(`step ${step}: loss ${(await loss.item()).toFixed(3)}`)
    loss.dispose()
  }

  model.eval()
  const [x, y] = windows(codes, held)
  const loss = await noGrad(() => losses.crossEntropy(model.forward(x), y)).item()
  console.log(`text it has not seen: perplexity ${Math.exp(loss).toFixed(2)} of ${alphabet.length} letters`)
  console.log(`continued: ${await continued(model, alphabet, 'You may ', 100)}`)
}

/** Where windows within [from, to) and the letter after them begin. */
function positions(from: number, to: number): number[] {
  return Array.from({ length: to - from - window }, (_, i) => from + i)
}

/** Windows of the text and the same one letter further on. */
function windows(codes: Int32Array, starts: readonly number[]): [Tensor, Tensor] {
  const shifted = (by: number) => {
    const data = Int32Array.from(starts.flatMap(start => [...codes.subarray(start + by, start + by + window)]))
    return tensor(data, { shape: [starts.length, window] })
  }
  return [shifted(0), shifted(1)]
}

/** The text with letters after it that the model draws, one at a time. */
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
      noGrad(() => {
        const logits = model.forward(tensor(codes, { shape: [1, codes.length] })).index(0, -1)
        // The largest of logits with Gumbel noise is a sample of their softmax; dividing favours the likely ones.
        const noise = randomUniform([alphabet.length]).log().neg().log()
        return logits.div(0.5).sub(noise).argmax()
      }),
    )
    text += alphabet[await next.item()]
  }
  return text
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
