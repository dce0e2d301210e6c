import { AnnealError } from '../errors'
import { Random, upTo } from './random'

/**
 * Which elements of a source an indexed dataset shows, in what order: `at(epoch)` gives the map from a position to a
 * source index. Orders compose without touching elements, and only shuffles hold memory (4 bytes an element).
 */
export interface Order {
  readonly length: number
  /** Whether epochs differ. */
  readonly varies: boolean
  at(epoch: number): (position: number) => number
}

export function identity(length: number): Order {
  return { length, varies: false, at: () => position => position }
}

/** Every `step`-th position of `order` from `start`, `length` of them. */
export function strided(order: Order, start: number, step: number, length: number): Order {
  return {
    length,
    varies: order.varies,
    at(epoch) {
      const inner = order.at(epoch)
      return position => inner(start + position * step)
    },
  }
}

/** An exact shuffle, another one in each epoch. */
export function shuffled(order: Order, seed: number): Order {
  return drawn(order, order.length, epoch => new Random(seed, epoch).permutation(order.length))
}

/** The positions that `draw` gives for each epoch. */
export function drawn(order: Order, length: number, draw: (epoch: number) => Uint32Array): Order {
  return {
    length,
    varies: true,
    at(epoch) {
      const inner = order.at(epoch)
      const positions = draw(epoch)
      return position => inner(positions[position]!)
    },
  }
}

/** The given positions of `order` as epoch 0 has them, the same in every epoch. */
export function selected(order: Order, positions: Uint32Array): Order {
  const inner = order.at(0)
  const indices = order.varies ? positions.map(inner) : undefined
  const select = indices ? (i: number) => indices[i]! : (i: number) => inner(positions[i]!)
  return { length: positions.length, varies: false, at: () => select }
}

/** `order` as epoch 0 has it, in every epoch. */
export function frozen(order: Order): Order {
  return order.varies ? selected(order, upTo(new Uint32Array(order.length))) : order
}

/** `order` one pass after another; each pass of each epoch is shuffled anew. */
export function repeated(order: Order, count: number): Order {
  return {
    length: order.length === 0 ? 0 : order.length * count,
    varies: order.varies,
    at(epoch) {
      let pass = -1
      let inner = (_: number): number => 0
      return position => {
        const wanted = Math.floor(position / order.length)
        if (wanted !== pass) {
          pass = wanted
          inner = order.at(passEpoch(epoch, pass, count))
        }
        return inner(position - pass * order.length)
      }
    },
  }
}

/** The epoch that pass `pass` of a dataset repeated `count` times counts as, so that no two passes are alike. */
export function passEpoch(epoch: number, pass: number, count: number): number {
  return Number.isFinite(count) ? epoch * count + pass : epoch + pass
}

/** Throws unless `value` is an integer of at least `least`. */
export function checkCount(value: number, least: number, where: string): number {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new AnnealError('ERR_VALUE', `${where}: expected an integer of at least ${least}, got ${value}`)
  }
  return value
}

/** Throws unless `index` and `count` name one of `count` shards. */
export function checkShard(index: number, count: number): void {
  checkCount(count, 1, 'shard: count')
  if (!Number.isSafeInteger(index) || index < 0 || index >= count) {
    throw new AnnealError('ERR_INDEX', `shard: expected an index from 0 to ${count - 1}, got ${index}`)
  }
}
