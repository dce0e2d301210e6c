import type { Tensor } from 'anneal'

/** The values of a tensor as plain numbers, in row-major order. */
export const flat = async (t: Tensor): Promise<number[]> => Array.from(await t.data(), Number)
