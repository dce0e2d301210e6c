// All cases, and what both sides know of them.
import { cases as elementwise } from './cases/elementwise.mjs'
import { cases as gpu } from './cases/gpu.mjs'
import { cases as images } from './cases/images.mjs'
import { cases as layers } from './cases/layers.mjs'
import { cases as memory } from './cases/memory.mjs'
import { cases as products } from './cases/products.mjs'
import { cases as reductions } from './cases/reductions.mjs'
import { cases as sequences } from './cases/sequences.mjs'

const cpu = [...elementwise, ...reductions, ...layers, ...products, ...images, ...memory, ...sequences]

/** Those of the device that BENCH_DEVICE names, or of the CPU. */
export const cases = process.env.BENCH_DEVICE ? gpu : cpu

/** The name of a case's workload. */
export const workload = ({ name }, backward) => (backward ? `${name}, and backward` : name)

/** The values of an input by the formula that both sides know: multiples of 389201 modulo a prime, spread over its range. */
export function values(spec, shape, number) {
  const { below, low = -1, high = 1 } = spec
  const unit = i => ((i * 389201 + number * 104729) % 1000003) / 1000003
  const length = shape.reduce((a, b) => a * b, 1)
  if (below) return Int32Array.from({ length }, (_, i) => unit(i) * below)
  const found = new Float32Array(length)
  for (let i = 0; i < length; i++) found[i] = unit(i) * (high - low) + low
  return found
}
