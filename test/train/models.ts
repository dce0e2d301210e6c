import { nn, type Tensor, tensor } from 'anneal'

/** Options of a fit that shows nothing. */
export const quiet = { progress: false } as const

export function linear(inputs: number, outputs: number, options: { bias?: boolean } = {}): nn.Linear {
  return new nn.Linear(inputs, outputs, options)
}

/** Values between -1 and 1 that look random and are always the same. */
export function matrix(rows: number, columns: number, salt = 1): Tensor {
  const data = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin((i + 1) * (salt + 0.37) * 12.9898))
  return tensor(data, { shape: [rows, columns] })
}

/** A target that is nearly linear in three inputs. */
export function regression(rows: number): { x: Tensor; y: Tensor } {
  const x = matrix(rows, 3)
  const y = x.matmul(tensor([[1], [-2], [0.5]])).add(matrix(rows, 1, 7).mul(0.01))
  return { x, y }
}

export async function flatOf(t: Tensor): Promise<number[]> {
  return Array.from(await t.data(), Number)
}

/** All parameters and buffers as numbers. */
export async function values(model: nn.Module): Promise<Record<string, number[]>> {
  const entries = Object.entries(model.stateDict()).map(async ([name, t]) => [name, await flatOf(t)] as const)
  return Object.fromEntries(await Promise.all(entries))
}
