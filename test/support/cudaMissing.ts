/**
 * Ops that have neither a kernel for CUDA nor a composition that runs there yet. A list that may only shrink: a test fails for
 * an entry that is not needed any more, and for an op that is missing without one.
 */
export const cudaMissing: readonly string[] = ['packConv', 'quantizedInference', 'quantizedPlan']
