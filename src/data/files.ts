import { AnnealError } from '../errors'

/** A refusal of the operating system as `ERR_IO`; any other error as it is. */
export function ioError(cause: unknown, path: string): unknown {
  const { code, syscall } = (cause ?? {}) as NodeJS.ErrnoException
  if (!(cause instanceof Error) || cause instanceof AnnealError || syscall === undefined) return cause
  const hint = code === 'ENOENT' ? ': there is no such file; check the path' : ''
  return new AnnealError('ERR_IO', `${path}: cannot ${syscall} (${code})${hint}`, { cause })
}

export function formatError(message: string, options?: ErrorOptions): AnnealError {
  return new AnnealError('ERR_FORMAT', message, options)
}
