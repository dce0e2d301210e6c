import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AnnealError } from '../errors'
import { asIoError, writeAtomically } from './files'
import { decodePlain, encodePlain, type Plain } from './json'
import { commitFiles, type FileWriter, useFiles } from './store'
import { type ByteSource, writeSafetensors } from './writer'

/** What a checkpoint holds beside tensors; everything comes back exactly as it was saved. */
export interface CheckpointState {
  /** Epochs completed. */
  epoch: number
  /** Optimizer steps completed. */
  step: number
  /** Where the data pipeline stands. */
  dataPosition?: Plain
  /** State of the random number generators. */
  rng?: Plain
  /** What the model was built and trained with. */
  config?: Plain
  /** Fitted encoders, scalers and the like, to be applied at prediction. */
  preprocessing?: Plain
  metrics?: Plain
}

/** A checkpoint whose tensors are bytes; {@link saveCheckpoint} builds one from tensors. */
export interface CheckpointSources extends CheckpointState {
  model: Readonly<Record<string, ByteSource>>
  optimizer?: { tensors: Readonly<Record<string, ByteSource>>; state: Plain }
}

/** The names of a checkpoint's files. */
export const modelFile = 'model.safetensors'
export const optimizerFile = 'optimizer.safetensors'
const stateFile = 'state.json'

/** Replaces the checkpoint in `folder` atomically; see {@link saveCheckpoint}. */
export async function writeCheckpoint(folder: string, checkpoint: CheckpointSources): Promise<void> {
  const { model, optimizer, ...state } = checkpoint
  // Before anything is awaited, so that the state and the tensors are of one moment.
  const text = Buffer.from(encodePlain({ ...state, optimizer: optimizer?.state } as Plain, 'checkpoint'))
  const files: Record<string, FileWriter> = {
    [modelFile]: path => writeSafetensors(path, model, {}, { hash: true }),
    [stateFile]: path => writeAtomically(path, sink => sink.write(text), { hash: true }),
  }
  if (optimizer) files[optimizerFile] = path => writeSafetensors(path, optimizer.tensors, {}, { hash: true })
  await commitFiles(folder, files)
}

/**
 * Verifies the checkpoint in `folder` and hands its state to `use`, with the paths of its tensor files (`optimizer` is
 * undefined where none was saved). The files may be gone once `use` is done, unless they are mapped.
 */
export function readCheckpoint<T>(
  folder: string,
  use: (
    state: CheckpointState & { optimizer?: Plain },
    files: { model: string; optimizer: string | undefined },
  ) => Promise<T>,
): Promise<T> {
  return useFiles(folder, async (set, names) => {
    for (const name of [modelFile, stateFile]) {
      if (!names.has(name)) throw new AnnealError('ERR_FORMAT', `checkpoint: ${set}: expected a file ${name}, got none`)
    }
    const state = await readState(join(set, stateFile))
    const optimizer = names.has(optimizerFile) ? join(set, optimizerFile) : undefined
    return use(state, { model: join(set, modelFile), optimizer })
  })
}

async function readState(path: string): Promise<CheckpointState & { optimizer?: Plain }> {
  try {
    return parseState(path, await readFile(path, 'utf8'))
  } catch (error) {
    throw asIoError('load checkpoint', path, error)
  }
}

function parseState(path: string, text: string): CheckpointState & { optimizer?: Plain } {
  let state: Plain
  try {
    state = decodePlain(text)
  } catch (error) {
    // A SyntaxError, or a RangeError for a nesting that is too deep.
    throw new AnnealError('ERR_FORMAT', `checkpoint: ${path}: ${(error as Error).message}`, { cause: error })
  }
  if (state !== null && typeof state === 'object' && !Array.isArray(state)) return state as unknown as CheckpointState
  throw new AnnealError('ERR_FORMAT', `checkpoint: ${path}: expected a JSON object, got ${brief(text)}`)
}

function brief(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
