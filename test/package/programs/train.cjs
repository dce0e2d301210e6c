const { tensor, valueAndGrad } = require('anneal')
const report = require('./report.cjs')

const rows = Array.from({ length: 64 }, (_, i) => [Math.sin(i), Math.cos(3 * i)])
const a = tensor(rows.map(([a]) => a))
const b = tensor(rows.map(([, b]) => b))
const y = tensor(rows.map(([a, b]) => 3 * a - 2 * b + 2))

const predict = (a, b, weights) => a.mul(weights[0]).add(b.mul(weights[1])).add(weights[2])

const lossAndGradients = valueAndGrad((...weights) => {
  const error = predict(a, b, weights).sub(y)
  return error.mul(error).sum().div(rows.length)
})

async function main() {
  const losses = []
  let weights = [tensor(0), tensor(0), tensor(0)]
  for (let step = 0; step < 150; step++) {
    const [loss, gradients] = lossAndGradients(...weights)
    weights = weights.map((weight, i) => weight.sub(gradients[i].mul(0.3)))
    losses.push(await loss.item())
  }
  report(losses, await predict(tensor([1, -1]), tensor([-1, 2]), weights).toArray())
}

main()
