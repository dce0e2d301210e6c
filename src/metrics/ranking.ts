import type { Plain } from '../io/json'
import type { Tensor } from '../tensor'
import type { Metric } from './metric'
import { isBinary, trueClasses } from './sums'

/** A metric of how examples are ranked: it keeps a score and the truth of every example, per class. */
abstract class RankingMetric implements Metric {
  abstract readonly name: string
  #batches: Promise<{ scores: number[]; truth: number[]; classes: number }>[] = []

  /** The figure for one class: `order` are the examples from the highest score down. */
  protected abstract figure(scores: readonly number[], positive: readonly boolean[], order: readonly number[]): number

  reset(): void {
    this.#batches = []
  }

  update(output: Tensor, target: Tensor): void {
    const binary = isBinary(output, target)
    const classes = binary ? 1 : output.shape.at(-1)!
    // Logits of one class rank examples as they are; those of several only against each other.
    const scores = binary ? output.reshape([-1]) : output.softmax({ axis: -1 }).reshape([-1])
    const batch = Promise.all([scores.data(), trueClasses(output, target).data()]).then(([s, t]) => ({
      scores: Array.from(s, Number),
      truth: Array.from(t, Number),
      classes,
    }))
    batch.catch(() => {}) // told by result()
    this.#batches.push(batch)
  }

  async result(): Promise<number> {
    const batches = await Promise.all(this.#batches)
    if (batches.length === 0) return Number.NaN
    const { classes } = batches[0]!
    const scores = batches.flatMap(b => b.scores)
    const truth = batches.flatMap(b => b.truth)
    if (classes === 1)
      return this.#of(
        scores,
        truth.map(t => t === 1),
      )
    const perClass = Array.from({ length: classes }, (_, c) =>
      this.#of(
        truth.map((_, i) => scores[i * classes + c]!),
        truth.map(t => t === c),
      ),
    )
    return perClass.reduce((a, b) => a + b, 0) / classes
  }

  #of(scores: readonly number[], positive: readonly boolean[]): number {
    const order = scores.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]!)
    return this.figure(scores, positive, order)
  }

  async state(): Promise<Plain> {
    return (await Promise.all(this.#batches)) as Plain
  }

  restore(state: Plain): void {
    const batches = state as { scores: number[]; truth: number[]; classes: number }[]
    this.#batches = batches.map(batch => Promise.resolve(batch))
  }
}

/** Runs of equal scores along an order: how many positives and negatives each has. */
function* ties(
  scores: readonly number[],
  positive: readonly boolean[],
  order: readonly number[],
): Generator<[number, number]> {
  for (let start = 0; start < order.length; ) {
    const score = scores[order[start]!]
    let positives = 0
    let end = start
    for (; end < order.length && scores[order[end]!] === score; end++) if (positive[order[end]!]) positives++
    // A score that is not a number equals nothing, itself neither.
    if (end === start) end++
    yield [positives, end - start - positives]
    start = end
  }
}

/**
 * The area under the receiver operating characteristic: how probably a positive example scores higher than a negative one,
 * ties counting half (Fawcett, 2006). Several classes: the mean of one against the rest. NaN without both kinds.
 */
export class RocAuc extends RankingMetric {
  readonly name = 'rocAuc'

  protected figure(scores: readonly number[], positive: readonly boolean[], order: readonly number[]): number {
    let above = 0 // positives ranked higher
    let area = 0
    let negatives = 0
    for (const [p, n] of ties(scores, positive, order)) {
      area += n * (above + p / 2)
      above += p
      negatives += n
    }
    return above === 0 || negatives === 0 ? Number.NaN : area / (above * negatives)
  }
}

/**
 * The area under the curve of precision over recall, as average precision: the precision at each recall, weighted by the
 * gain in recall. Several classes: the mean of one against the rest. NaN without positives.
 */
export class PrAuc extends RankingMetric {
  readonly name = 'prAuc'

  protected figure(scores: readonly number[], positive: readonly boolean[], order: readonly number[]): number {
    const total = positive.filter(Boolean).length
    let hits = 0
    let seen = 0
    let area = 0
    for (const [p, n] of ties(scores, positive, order)) {
      hits += p
      seen += p + n
      area += (p / total) * (hits / seen)
    }
    return total === 0 ? Number.NaN : area
  }
}
