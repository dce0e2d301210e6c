import type { Tensor } from '../tensor'
import type { Plain } from './json'
import { loadSafetensors, withSources } from './safetensors'
import { type CheckpointState, readCheckpoint, writeCheckpoint } from './state'

/** All that a training run needs to go on where it stood. */
export interface Checkpoint extends CheckpointState {
  model: Record<string, Tensor>
  optimizer?: { tensors: Record<string, Tensor>; state: Plain }
}

/**
 * Replaces the checkpoint in `folder` by this one, atomically: a crash at any moment, a kill -9 included, leaves the
 * old one or the new one whole. Tensors go to safetensors files, the rest to JSON, each with its SHA-256 in a manifest.
 * The values are those at the time of the call, and training may go on meanwhile. Only one process may save to a
 * folder at a time.
 *
 * Throws ERR_VALUE for what cannot be stored, ERR_IO; the old checkpoint stands then.
 */
export async function saveCheckpoint(folder: string, checkpoint: Checkpoint): Promise<void> {
  const { model, optimizer, ...state } = checkpoint
  await withSources(model, modelSources =>
    withSources(optimizer?.tensors ?? {}, tensors => {
      const sources = optimizer && { tensors, state: optimizer.state }
      return writeCheckpoint(folder, { ...state, model: modelSources, optimizer: sources })
    }),
  )
}

/**
 * The checkpoint in `folder`, after every file has been checked against its SHA-256. Tensors are mapped into memory.
 * Nothing in a checkpoint is ever run.
 *
 * Throws ERR_FORMAT for a corrupted checkpoint, naming the file and both checksums; ERR_IO where there is none.
 */
export function loadCheckpoint(folder: string): Promise<Checkpoint> {
  return readCheckpoint(folder, async ({ optimizer: optimizerState, ...state }, files) => {
    const model = await loadSafetensors(files.model)
    if (files.optimizer === undefined) return { ...state, model }
    const tensors = await loadSafetensors(files.optimizer)
    return { ...state, model, optimizer: { tensors, state: optimizerState ?? null } }
  })
}
