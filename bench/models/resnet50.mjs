// ResNet-50 (He et al., 2016), the stride in the 3×3 convolutions, on images of 224×224 pixels unless told otherwise.
import { anneal } from '../anneal.mjs'
import { choices, floats } from './inputs.mjs'

const { losses, nn, optim, relu } = anneal
const classes = 1000

const convolution = (inputs, outputs, kernel, stride = 1) =>
  new nn.Conv2d(inputs, outputs, kernel, { stride, padding: kernel >> 1, bias: false })

class Bottleneck extends nn.Module {
  constructor(inputs, width, stride) {
    super()
    this.conv1 = convolution(inputs, width, 1)
    this.bn1 = new nn.BatchNorm2d(width)
    this.conv2 = convolution(width, width, 3, stride)
    this.bn2 = new nn.BatchNorm2d(width)
    this.conv3 = convolution(width, 4 * width, 1)
    this.bn3 = new nn.BatchNorm2d(4 * width)
    const changes = stride > 1 || inputs !== 4 * width
    this.downsample = changes ? [convolution(inputs, 4 * width, 1, stride), new nn.BatchNorm2d(4 * width)] : []
  }

  forward(x) {
    const first = relu(this.bn1.forward(this.conv1.forward(x)))
    const second = relu(this.bn2.forward(this.conv2.forward(first)))
    const shortcut = this.downsample.reduce((y, layer) => layer.forward(y), x)
    return relu(this.bn3.forward(this.conv3.forward(second)).add(shortcut))
  }
}

function stage(inputs, width, count, stride) {
  const rest = Array.from({ length: count - 1 }, () => new Bottleneck(4 * width, width, 1))
  return new nn.Sequential(new Bottleneck(inputs, width, stride), ...rest)
}

class ResNet50 extends nn.Module {
  conv1 = convolution(3, 64, 7, 2)
  bn1 = new nn.BatchNorm2d(64)
  pool = new nn.MaxPool2d(3, { stride: 2, padding: 1 })
  layer1 = stage(64, 64, 3, 1)
  layer2 = stage(256, 128, 4, 2)
  layer3 = stage(512, 256, 6, 2)
  layer4 = stage(1024, 512, 3, 2)
  fc = new nn.Linear(2048, classes)

  /** Images [N, 224, 224, 3] to logits [N, classes]. */
  forward(x) {
    const begun = this.pool.forward(relu(this.bn1.forward(this.conv1.forward(x))))
    const stages = [this.layer1, this.layer2, this.layer3, this.layer4]
    return this.fc.forward(stages.reduce((h, layer) => layer.forward(h), begun).mean({ axis: [1, 2] }))
  }
}

const inputs = ({ batch, side = 224 }) => [floats([batch, side, side, 3], 5)]

export default {
  model() {
    const model = new ResNet50()
    for (const [name, parameter] of model.namedParameters()) {
      if (parameter.ndim === 4) nn.init.kaimingNormal(parameter, { mode: 'fanOut', nonlinearity: 'relu' })
      // Residual branches begin small, as is usual, so that activations keep their size over all blocks.
      if (name.endsWith('bn3.weight')) nn.init.constant(parameter, 0.2)
    }
    return model
  },
  inputs,
  batch: options => [...inputs(options), choices([options.batch], 3, classes)],
  loss: (model, x, y) => losses.crossEntropy(model.forward(x), y),
  optimizer: parameters => new optim.SGD(parameters, { lr: 0.01, momentum: 0.9, weightDecay: 1e-4 }),
}
