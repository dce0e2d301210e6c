import { AnnealError, type ErrorCode } from 'anneal'

/** The error that `run` throws, which must be an AnnealError. */
export function thrown(run: () => unknown): AnnealError {
  try {
    run()
  } catch (error) {
    if (error instanceof AnnealError) return error
    throw error
  }
  throw new Error('expected an error')
}

export const codeOf = (run: () => unknown): ErrorCode => thrown(run).code
