import { mkdir } from 'node:fs/promises'
import { arch, cpus, platform, release, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { AnnealError } from '../errors'
import { asIoError, writeAtomically } from '../io/files'
import { renderReport } from './page'

/** What a training report shows. Whatever is left out is not shown. */
export interface Report {
  title: string
  /**
   * Values per epoch by name. A name that begins with `val` (`valLoss`, `val_loss`) is drawn with the one it belongs
   * to; `lr` or `learningRate` has its own curve. Values that are not finite leave a gap.
   */
  history: Readonly<Record<string, readonly number[]>>
  /** The model's summary, as text. */
  summary?: string
  /** What the run was configured with. */
  config?: Readonly<Record<string, unknown>>
  /** Counts by actual class (rows) and predicted class (columns). */
  confusion?: { labels: readonly string[]; matrix: readonly (readonly number[])[] }
  /** Final results, such as those on the test set. */
  metrics?: Readonly<Record<string, number>>
  /** Added to what the report says of the machine. */
  environment?: Readonly<Record<string, string>>
}

/**
 * Writes one HTML file with everything in it (no network, light and dark, any width): curves of loss, metrics and
 * learning rate, final metrics, confusion matrix, model summary, configuration and environment.
 * Throws ERR_SHAPE for a confusion matrix that does not fit its labels, and ERR_IO.
 */
export async function writeReport(path: string, report: Report): Promise<void> {
  checkConfusion(report.confusion)
  const html = renderReport({ ...report, environment: { ...machine(), ...report.environment } })
  try {
    await mkdir(dirname(path), { recursive: true })
  } catch (error) {
    throw asIoError('write', path, error)
  }
  await writeAtomically(path, sink => sink.write(Buffer.from(html)))
}

function checkConfusion(confusion: Report['confusion']): void {
  if (!confusion) return
  const classes = confusion.labels.length
  const rows = confusion.matrix.map(row => row.length)
  if (rows.length !== classes || rows.some(length => length !== classes)) {
    throw new AnnealError(
      'ERR_SHAPE',
      `report: confusion matrix: expected [${classes},${classes}] for ${classes} labels, got rows of [${rows}]`,
    )
  }
}

function machine(): Record<string, string> {
  return {
    Written: new Date().toISOString(),
    Node: process.version,
    System: `${platform()} ${release()} (${arch()})`,
    Processor: `${cpus()[0]?.model.trim() ?? 'unknown'} (${cpus().length} threads)`,
    Memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
  }
}
