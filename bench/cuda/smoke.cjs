// A little of each kind of kernel, with sizes that leave remainders: whether a GPU works at all, and for compute-sanitizer, under
// which all is slow. Says of everything that fails why.
const anneal = require('../../dist')

const { compile, concat, gradients, losses, nn, optim, randomNormal, tensor } = anneal

const indices = (values, shape = [values.length]) => tensor(values, { dtype: 'int64', shape })

function single() {
  const x = randomNormal([37, 65])
  const w = randomNormal([29, 65])
  const index = indices([3, 0, 36, 3])
  return {
    map: () => x.mul(2).add(1).gelu(),
    strided: () => x.transpose(0, 1).exp(),
    broadcast: () => x.add(x.sum({ axis: 1, keepDims: true })),
    copy: () => x.transpose(0, 1).contiguous(),
    cast: () => x.cast('bfloat16').cast('float64').cast('int8'),
    rows: () => x.sum({ axis: 1 }),
    columns: () => x.var({ axis: 0 }),
    whole: () => x.max(),
    large: () => anneal.randomUniform([300001]).mean(),
    place: () => x.argmax({ axis: 1 }),
    softmax: () => x.softmax(),
    product: () => anneal.linear(x, w),
    product16: () => anneal.linear(x.cast('bfloat16'), w.cast('bfloat16')),
    gathered: () => x.indexSelect(index, 0),
    added: () => anneal.zerosLike(x).indexAdd(index, x.slice([0], [4]), 0),
    joined: () => concat([x, x], { axis: 0 }),
    sorted: () => x.sort()[0],
    summed: () => x.cumsum(1),
    permutation: () => anneal.permutation(1001),
  }
}

/** Forward and backward passes of what has kernels of its own for both. */
function differentiated() {
  const results = {}
  const both = (name, inputs, f) => {
    for (const x of inputs) x.requireGrad()
    const y = f(...inputs)
    results[name] = y
    for (const [i, g] of gradients([y.cast('float32').square().sum()], inputs).entries()) results[`${name} ${i}`] = g
  }
  const normal = (shape, dtype = 'float32') => randomNormal(shape).cast(dtype).detach()
  for (const dtype of ['float32', 'bfloat16']) {
    const [q, k, v] = [1, 2, 3].map(() => normal([2, 3, 33, 32], dtype))
    both(`attention ${dtype}`, [q, k, v], (q, k, v) => q.scaledDotProductAttention(k, v, null, { causal: true }))
    both(`layer norm ${dtype}`, [normal([19, 129], dtype), normal([129], dtype), normal([129], dtype)], (x, w, b) =>
      x.layerNorm(w, b),
    )
    both(`convolution ${dtype}`, [normal([2, 9, 11, 5], dtype), normal([7, 3, 3, 5], dtype)], (x, w) =>
      x.conv2d(w, null, { padding: 1 }),
    )
    both(`cross-entropy ${dtype}`, [normal([13, 1027], dtype)], x =>
      x.crossEntropy(indices(Array.from({ length: 13 }, (_, i) => 70 * i))),
    )
  }
  return results
}

/** Some steps of training, call by call and captured. */
function trained() {
  const model = new nn.Sequential(new nn.Linear(17, 33), new nn.BatchNorm1d(33), new nn.ReLU(), new nn.Linear(33, 3))
  const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 })
  const step = (x, y) => {
    const loss = losses.crossEntropy(model.forward(x), y)
    loss.backward()
    optim.clipGradNorm(model.parameters(), 1)
    optimizer.step()
    optimizer.zeroGrad()
    return loss
  }
  const found = {}
  for (const [way, run] of [
    ['eager', step],
    ['captured', compile(step)],
  ]) {
    for (let i = 0; i < 3; i++) found[`${way} ${i}`] = run(randomNormal([21, 17]), indices(Array(21).fill(i)))
  }
  return found
}

const failures = []
const failed = (name, error) => {
  failures.push(name)
  console.log(`${name}: ${error.message}`)
}

/** What a part gives; a part that cannot be begun does not keep the others from running. */
function part(make) {
  try {
    return make()
  } catch (error) {
    failed(make.name, error)
    return {}
  }
}

async function check(result) {
  const values = await result.data()
  if (values.length !== result.size) throw new Error(`${values.length} values of ${result.size}`)
  if (Array.from(values, Number).some(Number.isNaN)) throw new Error('not a number')
}

async function main() {
  anneal.setDevice('cuda')
  anneal.manualSeed(1)
  const results = {}
  for (const [name, make] of Object.entries(part(single))) {
    try {
      results[name] = make()
    } catch (error) {
      failed(name, error)
    }
  }
  Object.assign(results, part(differentiated), part(trained))
  for (const [name, result] of Object.entries(results)) await check(result).catch(error => failed(name, error))
  console.log(
    `${Object.keys(results).length} results on ${anneal.devices().at(-1).hardware}, ${failures.length} failures`,
  )
  process.exitCode = failures.length ? 1 : 0
}

main()
