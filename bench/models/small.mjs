// Small networks.
import { anneal } from '../anneal.mjs'
import { adamW, choices, floats } from './inputs.mjs'

const { losses, nn, optim } = anneal

export const tinyMlp = {
  model: () => new nn.Sequential(new nn.Linear(2, 16), new nn.Tanh(), new nn.Linear(16, 1)),
  batch: ({ batch }) => [floats([batch, 2], 5), floats([batch, 1], 6)],
  loss: (model, x, y) => losses.mse(model.forward(x), y),
  optimizer: parameters => new optim.SGD(parameters, { lr: 0.01 }),
}

export const mlp = {
  model: () =>
    new nn.Sequential(
      new nn.Linear(784, 512),
      new nn.ReLU(),
      new nn.Linear(512, 512),
      new nn.ReLU(),
      new nn.Linear(512, 10),
    ),
  batch: ({ batch }) => [floats([batch, 784], 5), choices([batch], 3, 10)],
  loss: (model, x, y) => losses.crossEntropy(model.forward(x), y),
  optimizer: adamW,
}

export const cnn = {
  model: () =>
    new nn.Sequential(
      new nn.Conv2d(1, 32, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(32, 64, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(3136, 10),
    ),
  batch: ({ batch }) => [floats([batch, 28, 28, 1], 5), choices([batch], 3, 10)],
  loss: (model, x, y) => losses.crossEntropy(model.forward(x), y),
  optimizer: adamW,
}

export const lstm = {
  model: ({ size }) => new nn.LSTM(size, size),
  batch: ({ batch, sequence, size }) => [floats([batch, sequence, size], 5)],
  loss: (model, x) => model.forward(x)[0].square().mean(),
  optimizer: adamW,
}
