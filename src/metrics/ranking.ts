import { noGrad } from '../autograd'
import { tensor } from '../creation'
import type { Plain } from '../io/json'
import { keep, scope } from '../lifetime'
import { concat, where } from '../ops.generated'
import type { Tensor } from '../tensor'
import type { Metric } from './metric'
import { cloneOf, isBinary, trueClasses } from './sums'

/** Scores of examples, [examples, classes], where one logit is one class, and the true classes, [examples]. */
interface Part {
  readonly scores: Tensor
  readonly truth: Tensor
}

interface Saved {
  scores: number[]
  truth: number[]
}

/** Examples of equal score: how many of them are of the class, and how many are not. */
type Tie = readonly [positives: number, negatives: number]

/** A metric of how examples are ranked: it keeps a score and the truth of every example, per class. */
abstract class RankingMetric implements Metric {
  abstract readonly name: string
  readonly costly = true
  private parts: Part[] = []

  /** The figure for one class, from the examples by falling score. */
  protected abstract figure(ties: readonly Tie[]): number

  reset(): void {
    for (const { scores, truth } of this.parts) {
      scores.dispose()
      truth.dispose()
    }
    this.parts = []
  }

  clone(): this {
    return cloneOf(this, { parts: [] })
  }

  update(output: Tensor, target: Tensor): void {
    const part = scope(() => {
      // Logits of one class rank examples as they are; those of several only against each other.
      const binary = isBinary(output, target)
      const scores = binary ? output.reshape([-1, 1]) : output.softmax({ axis: -1 })
      const rows = scores.cast('float64').reshape([-1, binary ? 1 : output.shape.at(-1)!])
      return { scores: rows.detach(), truth: trueClasses(output, target).detach() }
    })
    this.parts.push({ scores: keep(part.scores), truth: keep(part.truth) })
  }

  async result(): Promise<number> {
    if (this.parts.length === 0) return Number.NaN
    const classes = this.parts[0]!.scores.shape[1]!
    const figures: number[] = []
    for (let c = 0; c < classes; c++) figures.push(await this.ofClass(c, classes === 1 ? 1 : c))
    return figures.reduce((a, b) => a + b, 0) / classes
  }

  /** The figure of the scores in one column, where positives are the examples of class `truth`. */
  private async ofClass(column: number, truth: number): Promise<number> {
    const [scores, kinds] = scope(() =>
      noGrad(() => {
        const own = concat(this.parts.map(part => part.scores.index('...', column)))
        const kind = concat(
          this.parts.map(part => where(part.truth.less(0), -1, part.truth.equal(truth).cast('int32'))),
        )
        const [sorted, order] = own.sort({ descending: true })
        return [sorted, kind.take(order)]
      }),
    ) as [Tensor, Tensor]
    const [s, k] = await Promise.all([scores.data(), kinds.data()])
    scores.dispose()
    kinds.dispose()
    return s.some(Number.isNaN as never) ? Number.NaN : this.figure(tiesOf(s as Float64Array, k as Int32Array))
  }

  async state(): Promise<Plain> {
    const saved = this.parts.map(async ({ scores, truth }): Promise<Saved> => {
      const [s, t] = await Promise.all([scores.data(), truth.data()])
      return { scores: Array.from(s, Number), truth: Array.from(t, Number) }
    })
    return (await Promise.all(saved)) as unknown as Plain
  }

  restore(state: Plain): void {
    this.reset()
    this.parts = (state as unknown as Saved[]).map(({ scores, truth }) => ({
      scores: keep(tensor(Float64Array.from(scores), { shape: [truth.length, scores.length / truth.length] })),
      truth: keep(tensor(BigInt64Array.from(truth, BigInt))),
    }))
  }
}

/** Ties of examples by falling score, of kind 1 (of the class), 0 (not of it) or -1 (they do not count). */
function tiesOf(scores: Float64Array, kinds: Int32Array): Tie[] {
  const ties: Tie[] = []
  for (let start = 0, end = 0; start < scores.length; start = end) {
    const counts: [number, number] = [0, 0]
    for (; end < scores.length && scores[end] === scores[start]; end++) {
      if (kinds[end]! >= 0) counts[kinds[end]! === 1 ? 0 : 1]++
    }
    if (counts[0] + counts[1] > 0) ties.push(counts)
  }
  return ties
}

/**
 * The area under the receiver operating characteristic: how probably a positive example scores higher than a negative one,
 * ties counting half (Fawcett, 2006). Several classes: the mean of one against the rest. NaN without both kinds.
 */
export class RocAuc extends RankingMetric {
  readonly name = 'rocAuc'

  protected figure(ties: readonly Tie[]): number {
    let above = 0 // positives ranked higher
    let area = 0
    let negatives = 0
    for (const [p, n] of ties) {
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

  protected figure(ties: readonly Tie[]): number {
    const total = ties.reduce((sum, [positives]) => sum + positives, 0)
    let hits = 0
    let seen = 0
    let area = 0
    for (const [p, n] of ties) {
      hits += p
      seen += p + n
      area += (p / total) * (hits / seen)
    }
    return total === 0 ? Number.NaN : area
  }
}
