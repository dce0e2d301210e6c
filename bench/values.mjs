// Values that all peers make for themselves, the same everywhere.

/** ((i · 7919 + number · 104729) mod 1000 / 500 - 1) · bound. */
export function formula(size, number, bound = 1) {
  return Float32Array.from({ length: size }, (_, i) => (((i * 7919 + number * 104729) % 1000) / 500 - 1) * bound)
}

/** (i · 7919 + number · 104729) mod count. */
export function indices(size, number, count) {
  return Int32Array.from({ length: size }, (_, i) => (i * 7919 + number * 104729) % count)
}

export const sizeOf = shape => shape.reduce((a, b) => a * b, 1)
