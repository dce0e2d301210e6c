import { losses, manualSeed, nn, optim, type Tensor } from 'anneal'

/** A small network of everything that has state: batch norm, dropout, and an optimizer with momentum. */
class Network extends nn.Module {
  readonly first = new nn.Linear(3, 8)
  readonly norm = new nn.BatchNorm1d(8)
  readonly drop = new nn.Dropout(0.3)
  readonly last = new nn.Linear(8, 2)

  forward(x: Tensor): Tensor {
    return this.last.forward(this.drop.forward(this.norm.forward(this.first.forward(x)).relu()))
  }
}

export function network(): Network {
  manualSeed(11)
  return new Network()
}

export type Clip = 'none' | 'norm' | 'value' | 'both'

/**
 * A training step written by hand, which both ways of running share. Gradients are dropped at its end, or at its beginning
 * and then kept from run to run.
 */
export function stepOf(model: nn.Module, optimizer: optim.Optimizer, clip: Clip = 'norm', keep = true) {
  const parameters = model.parameters()
  const average = new optim.ExponentialMovingAverage(parameters, { warmUp: true })
  const step = (x: Tensor, y: Tensor): Tensor => {
    if (keep) optimizer.zeroGrad()
    const loss = losses.crossEntropy(model.forward(x), y)
    loss.backward()
    if (clip === 'value' || clip === 'both') optim.clipGradValue(parameters, 0.01)
    if (clip === 'norm' || clip === 'both') optim.clipGradNorm(parameters, 0.05)
    optimizer.step()
    average.update()
    if (!keep) optimizer.zeroGrad()
    return loss
  }
  return { step, average }
}
