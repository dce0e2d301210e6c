/** How long a pass may keep the event loop, in milliseconds. */
const SLICE = 8

let last = performance.now()

/**
 * Whether other work has waited for too long: a pass over data in memory awaits nothing but itself, and would keep
 * timers and sockets waiting until it ends.
 */
export function overdue(): boolean {
  return performance.now() - last > SLICE
}

/** Lets the event loop go round once. */
export async function breathe(): Promise<void> {
  await new Promise(resolve => setImmediate(resolve))
  last = performance.now()
}
