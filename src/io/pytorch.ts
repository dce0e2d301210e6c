import { AnnealError } from '../errors'
import { scope } from '../lifetime'
import type { Tensor } from '../tensor'
import { loadSafetensors, saveSafetensors } from './safetensors'

/** How a tensor's axes go from Anneal to PyTorch: PyTorch's axis i is Anneal's axis `permutation[i]`. */
export type Permutation = readonly number[]

/**
 * What a model must offer to be exchanged with PyTorch; every `nn.Module` does. A module class tells its layouts by
 * `static readonly pytorch = { weight: [0, 3, 1, 2] }`.
 */
export interface PytorchModel {
  stateDict(): Record<string, Tensor>
  loadStateDict(state: Record<string, Tensor>): unknown
  namedModules(): Iterable<readonly [string, object]>
  /** Further names of tied tensors, each with its name in {@link stateDict}. */
  namedAliases?(): Iterable<readonly [alias: string, name: string]>
}

export interface PytorchOptions {
  /**
   * Linear weights that follow a flattened image, by name, with the image's size [height, width, channels]. PyTorch
   * flattens channels first, Anneal channels last, so that their columns are reordered.
   */
  flattened?: Readonly<Record<string, readonly [number, number, number]>>
}

/**
 * Loads a PyTorch state dict, saved as safetensors, into `model`: names are matched (`running_mean` is `runningMean`)
 * and layouts converted, bit for bit. Where dtypes differ, values are cast to the model's, as PyTorch does. A tied tensor
 * may come under any of its names; where it comes under several, the model's last one wins, as in PyTorch.
 *
 * Throws ERR_FORMAT, naming all of them, when tensors are missing, unknown or of another shape; the model is then
 * unchanged.
 */
export async function loadPytorch(path: string, model: PytorchModel, options: PytorchOptions = {}): Promise<void> {
  // The memory of what the model held before is not to wait for the garbage collector.
  await scope(async () => {
    const file = await loadSafetensors(path)
    const current = model.stateDict()
    const layouts = layoutsOf(model, options)
    const aliases = new Map(model.namedAliases?.())
    const { matched, problems } = matchNames(Object.keys(current), Object.keys(file), aliases)
    const state = { ...current }
    for (const [alias, source] of matched) {
      const name = aliases.get(alias) ?? alias
      const [from, to] = [file[source] as Tensor, current[name] as Tensor]
      const tensor = fromPytorch(from, layouts.get(name))
      if (tensor?.shape.join() === to.shape.join()) {
        state[name] = tensor.dtype === to.dtype ? tensor : tensor.cast(to.dtype)
      } else {
        problems.push(`${source} has shape [${from.shape}], which does not fit ${name} [${to.shape}]`)
      }
    }
    if (problems.length > 0) throw new AnnealError('ERR_FORMAT', `loadPytorch: ${path}: ${listed(problems)}`)
    model.loadStateDict(state)
    return state
  })
}

/**
 * Saves `model` so that PyTorch loads it: `module.load_state_dict(safetensors.torch.load_file(path))`. Tied tensors are
 * written under each of their names.
 * Throws ERR_VALUE when two names become one in snake case, ERR_IO.
 */
export function savePytorch(path: string, model: PytorchModel, options: PytorchOptions = {}): Promise<void> {
  return scope(() => {
    const layouts = layoutsOf(model, options)
    const converted: Record<string, Tensor> = {}
    const state = model.stateDict()
    const names = [...Object.keys(state).map(name => [name, name] as const), ...(model.namedAliases?.() ?? [])]
    for (const [alias, name] of names) {
      const target = pytorchName(alias)
      if (Object.hasOwn(converted, target)) {
        throw new AnnealError('ERR_VALUE', `savePytorch: ${path}: two tensors would be named ${target}; rename one`)
      }
      converted[target] = toPytorch(state[name]!.detach(), layouts.get(name))
    }
    return saveSafetensors(path, converted, { format: 'pt' })
  })
}

/** PyTorch's name of a tensor: camel case becomes snake case (`bn.runningMean` is `bn.running_mean`). */
export function pytorchName(name: string): string {
  return name.replace(/(?<=[a-z0-9])[A-Z]/g, letter => `_${letter.toLowerCase()}`)
}

/** Which of the file's names holds each of the model's tensors, aliases included, and what is wrong with the rest. */
export function matchNames(
  model: readonly string[],
  file: readonly string[],
  aliases: ReadonlyMap<string, string> = new Map(),
) {
  const left = new Set(file)
  const matched = new Map<string, string>()
  for (const name of [...model, ...aliases.keys()]) {
    const source = [pytorchName(name), name].find(candidate => left.delete(candidate))
    if (source !== undefined) matched.set(name, source)
  }
  const found = new Set(Array.from(matched.keys(), name => aliases.get(name) ?? name))
  const missing = model.filter(name => !found.has(name) && !isCounter(name))
  const unknown = [...left].filter(name => !isCounter(name))
  const problems = [
    ...missing.map(name => `${pytorchName(name)} is missing`),
    ...unknown.map(name => `${name} is unknown to the model`),
  ]
  return { matched, problems }
}

// Batch normalisation's counter came to PyTorch late and changes nothing in a default model: it may be absent.
function isCounter(name: string): boolean {
  return /(^|\.)num_batches_tracked$/.test(pytorchName(name))
}

interface Layout {
  permutation: Permutation
  /** The shape in which Anneal's axes are to be permuted, where that is not the tensor's own. */
  unflattened?: readonly number[]
}

function layoutsOf(model: PytorchModel, { flattened = {} }: PytorchOptions): Map<string, Layout> {
  const layouts = new Map<string, Layout>()
  for (const [path, module] of model.namedModules()) {
    const hints = (module.constructor as { pytorch?: Readonly<Record<string, Permutation>> }).pytorch ?? {}
    for (const [name, permutation] of Object.entries(hints)) {
      layouts.set(path === '' ? name : `${path}.${name}`, { permutation })
    }
  }
  for (const [name, image] of Object.entries(flattened)) {
    layouts.set(name, { permutation: [0, 3, 1, 2], unflattened: [-1, ...image] })
  }
  return layouts
}

function toPytorch(tensor: Tensor, layout: Layout | undefined): Tensor {
  if (!layout) return tensor
  const { permutation, unflattened } = layout
  if (!unflattened) return tensor.permute(permutation)
  return tensor.reshape(unflattened).permute(permutation).reshape(tensor.shape)
}

/** A tensor of PyTorch in Anneal's layout; undefined where its shape does not allow for it. */
function fromPytorch(tensor: Tensor, layout: Layout | undefined): Tensor | undefined {
  if (!layout) return tensor
  const { permutation, unflattened } = layout
  const inverse = permutation.map((_, axis) => permutation.indexOf(axis))
  if (!unflattened) return tensor.ndim === inverse.length ? tensor.permute(inverse).contiguous() : undefined
  const [, height, width, channels] = unflattened as [number, number, number, number]
  const [rows = 0, columns] = tensor.shape
  if (tensor.ndim !== 2 || columns !== height * width * channels) return undefined
  return tensor.reshape([rows, channels, height, width]).permute(inverse).reshape(tensor.shape)
}

function listed(problems: readonly string[]): string {
  const shown = problems.slice(0, 20).join('; ')
  return problems.length > 20 ? `${shown}; and ${problems.length - 20} more` : shown
}
