/** `value` with the unit that suits it, of `units` that are each `step` of the one before: `1.23 MiB`. */
export function scaled(value: number, units: readonly string[], step: number): string {
  let unit = 0
  let rest = value
  while (rest >= step && unit + 1 < units.length) {
    rest /= step
    unit++
  }
  return `${rest >= 100 || unit === 0 ? Math.round(rest) : rest.toPrecision(3)} ${units[unit]}`.trimEnd()
}

/** A number of bytes. */
export const bytesOf = (bytes: number) => scaled(bytes, ['B', 'KiB', 'MiB', 'GiB', 'TiB'], 1024)

/** A large number, such as one of operations. */
export const countOf = (count: number) => scaled(count, ['', 'k', 'M', 'G', 'T'], 1000)
