import { gradEnabled, noGrad } from './autograd'
import { expectTensor } from './call'
import { currentRecording } from './capturing'
import { scope } from './lifetime'
import { currentMode, withMode } from './mode'
import { native, throwLast } from './native'
import { Tensor } from './tensor'

/**
 * Runs `fn` without keeping what its gradient needs, and once more when the gradient is wanted: memory for time
 * (Chen et al., 2016). Random numbers and autocast are the same in both runs. Parameters used inside get their gradients
 * too. Both runs are scopes: of the tensors that `fn` makes, only its result and those that it passes to `keep()` outlive
 * them.
 * @throws ERR_VALUE where `fn` gives no tensor, or when it is run again one of another shape or dtype.
 */
export function checkpoint(fn: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): Tensor {
  const handles = inputs.map((t, i) => expectTensor(t, `checkpoint: input ${i}`).handle)
  const run = (given: readonly Tensor[]) => expectTensor(fn(...given), 'checkpoint: the result of the function')
  if (!gradEnabled()) return run(inputs)
  const { lower, autocast } = currentMode()
  const [seed, offset] = native.generator()
  let closesOver = false
  const output = scope(() =>
    noGrad(() => {
      const given = inputs.map(t => t.detach())
      const before = native.differentiableCalls()
      const result = run(given)
      closesOver = result.requiresGrad || native.differentiableCalls() > before
      return result.detach()
    }),
  )
  if (!closesOver && !inputs.some(t => t.requiresGrad)) return output
  const again = (saved: number[], take: (result: number) => boolean) =>
    withGenerator(seed, offset, () =>
      withMode({ grad: true, lower, autocast }, () =>
        scope(() => {
          if (!take(run(saved.map(handle => new Tensor(handle))).handle)) throwLast()
        }),
      ),
    )
  if (!native.checkpoint(handles, output.handle, closesOver, again)) throwLast()
  return output
}

/** Runs `fn` with the random numbers that follow `seed` and `offset`, and in a captured function apart from the rest. */
function withGenerator(seed: number, offset: number, fn: () => void): void {
  const after = native.generator()
  // What is computed for the second time is not to be shared with the first.
  const region = currentRecording() ? native.captureRegion(-1) : undefined
  native.generator(seed, offset)
  try {
    fn()
  } finally {
    native.generator(...after)
    if (region !== undefined) native.captureRegion(region)
  }
}
