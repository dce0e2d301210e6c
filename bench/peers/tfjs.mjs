// TensorFlow.js's side of the benchmarks, on its WebAssembly backend, the fastest here. What that backend cannot do (the
// gradient of a convolution, for one) is answered with its error.
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { formula, indices, sizeOf } from '../values.mjs'
import { serve } from '../worker.mjs'

const require = createRequire(import.meta.url)
const tf = require('@tensorflow/tfjs')
const wasm = require('@tensorflow/tfjs-backend-wasm')
wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/wasm-out/`)
await tf.setBackend('wasm')
await tf.ready()

const input = (shape, number) => tf.tensor(formula(sizeOf(shape), number), shape)
const labels = (count, of) => tf.oneHot(tf.tensor1d(indices(count, 3, of), 'int32'), of)

function training(model, optimizer, lossOf) {
  return async iterations => {
    for (let i = 0; i < iterations; i++) {
      const loss = optimizer.minimize(() => lossOf(model), true)
      await loss.data()
      loss.dispose()
    }
  }
}

function product(m, k, n) {
  const [a, b] = [input([m, k], 1), input([k, n], 2)]
  return async iterations => {
    for (let i = 0; i < iterations; i++) {
      const c = tf.matMul(a, b)
      await c.data()
      c.dispose()
    }
  }
}

const dense = (units, activation, inputShape) =>
  tf.layers.dense({ units, activation, ...(inputShape && { inputShape }) })

const workloads = {
  add4: async () => {
    const [a, b] = [tf.tensor1d([1, 2, 3, 4]), tf.tensor1d([1, 2, 3, 4])]
    return async iterations => {
      for (let i = 0; i < iterations; i++) tf.add(a, b).dispose()
    }
  },
  mm64: async () => {
    const [a, b] = [input([64, 64], 1), input([64, 64], 2)]
    const gradient = tf.grads((x, y) => tf.sum(tf.relu(tf.matMul(x, y))))
    return async iterations => {
      for (let i = 0; i < iterations; i++) for (const g of gradient([a, b])) g.dispose()
    }
  },
  matmul1024: async () => product(1024, 1024, 1024),
  matmul2048: async () => product(2048, 768, 3072),
  tinyMlp: async () => {
    const model = tf.sequential({ layers: [dense(16, 'tanh', [2]), dense(1)] })
    const [x, y] = [input([32, 2], 5), input([32, 1], 6)]
    return training(model, tf.train.sgd(0.01), m => tf.losses.meanSquaredError(y, m.apply(x)))
  },
  mlp: async () => {
    const model = tf.sequential({ layers: [dense(512, 'relu', [784]), dense(512, 'relu'), dense(10)] })
    const [x, y] = [input([128, 784], 5), labels(128, 10)]
    return training(model, tf.train.adam(1e-4), m => tf.losses.softmaxCrossEntropy(y, m.apply(x)))
  },
  cnn: async () => {
    const conv = (filters, inputShape) =>
      tf.layers.conv2d({
        filters,
        kernelSize: 3,
        padding: 'same',
        activation: 'relu',
        ...(inputShape && { inputShape }),
      })
    const pool = () => tf.layers.maxPooling2d({ poolSize: 2 })
    const model = tf.sequential({
      layers: [conv(32, [28, 28, 1]), pool(), conv(64), pool(), tf.layers.flatten(), dense(10)],
    })
    const [x, y] = [input([64, 28, 28, 1], 5), labels(64, 10)]
    return training(model, tf.train.adam(1e-4), m => tf.losses.softmaxCrossEntropy(y, m.apply(x)))
  },
}

await serve({ name: `TensorFlow.js ${tf.getBackend()}`, version: tf.version_core, threads: 1 }, async name =>
  workloads[name]?.(),
)
