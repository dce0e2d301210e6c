/** What kind of mistake an {@link AnnealError} reports; stable, so programs may branch on it. */
export type ErrorCode =
  | 'ERR_SHAPE' // shapes do not fit
  | 'ERR_DTYPE' // a dtype that the operation does not take
  | 'ERR_VALUE' // an argument outside what is allowed
  | 'ERR_INDEX' // an index out of range
  | 'ERR_STATE' // not possible in the present state (disposed tensor, model not compiled …)
  | 'ERR_GRADIENT' // a gradient that does not exist
  | 'ERR_FORMAT' // a file or text that is broken or not of the expected format
  | 'ERR_IO' // the operating system refused
  | 'ERR_MEMORY' // out of memory or over the limit
  | 'ERR_ABORTED' // stopped through an AbortSignal
  | 'ERR_NATIVE' // the native library is missing or unfit
  | 'ERR_CAPTURE' // a function that compile() cannot capture
  | 'ERR_DEVICE' // a device is missing or failed
  | 'ERR_INTERNAL' // a defect of Anneal itself

/**
 * Every error that Anneal throws. The message says what was wrong, what was expected and what to do;
 * `code` says the kind.
 */
export class AnnealError extends Error {
  override readonly name = 'AnnealError'
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}
