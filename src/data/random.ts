import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64'
import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus'
import { AnnealError } from '../errors'

/**
 * Seeded random numbers for the host side of a data pipeline: xoroshiro128+ (Blackman and Vigna, 2018), its
 * state filled by SplitMix32. The keys (seed, epoch, index, …) choose the stream: the same keys always give the
 * same numbers, and keys that lie close together give unrelated ones.
 */
export class Random {
  readonly #generator

  /** @param keys - safe integers, at least one */
  constructor(...keys: readonly number[]) {
    this.#generator = xoroshiro128plusFromState(mix(keys))
  }

  /** A number in [0, 1). */
  float(): number {
    return uniformFloat64(this.#generator)
  }

  /** An integer in [0, limit). */
  int(limit: number): number {
    return uniformInt(this.#generator, 0, limit - 1)
  }

  /** Shuffles in place (Fisher and Yates) and returns the same array. */
  shuffle<A extends Uint32Array | unknown[]>(items: A): A {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(i + 1)
      const held = items[i]
      items[i] = items[j]
      items[j] = held
    }
    return items
  }

  /** The integers 0 … length - 1 in random order. */
  permutation(length: number): Uint32Array {
    if (length >= 2 ** 32) {
      throw new AnnealError(
        'ERR_VALUE',
        `shuffle: expected fewer than 2^32 elements for an exact shuffle, got ${length}; give a bufferSize instead`,
      )
    }
    return this.shuffle(upTo(new Uint32Array(length)))
  }
}

/** Fills `numbers` with 0, 1 … and returns it; `from` with a function takes ten times as long. */
export function upTo<A extends Uint32Array | Int32Array>(numbers: A): A {
  for (let i = 0; i < numbers.length; i++) numbers[i] = i
  return numbers
}

/** Throws unless `seed` is an integer that a number holds exactly. */
export function checkSeed(seed: number, where: string): number {
  if (!Number.isSafeInteger(seed)) {
    throw new AnnealError('ERR_VALUE', `${where}: expected seed to be a safe integer, got ${seed}`)
  }
  return seed
}

function mix(keys: readonly number[]): number[] {
  let state = 0x9e3779b9
  for (const key of keys) {
    // A safe integer has 53 bits: both halves count.
    state = finalize((state ^ key) + 0x9e3779b9)
    state = finalize((state ^ Math.floor(key / 2 ** 32)) + 0x9e3779b9)
  }
  return [1, 2, 3, 4].map(i => finalize((state + Math.imul(i, 0x9e3779b9)) | 0))
}

/** The finaliser of MurmurHash3, which SplitMix32 uses: every input bit moves every output bit. */
function finalize(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
