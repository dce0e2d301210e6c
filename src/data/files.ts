import { AnnealError } from '../errors'

export function formatError(message: string, options?: ErrorOptions): AnnealError {
  return new AnnealError('ERR_FORMAT', message, options)
}
