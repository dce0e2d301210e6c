// Asks for a GPU, and computes where it is, or says why there is none.
const anneal = require('anneal')

async function main() {
  const automatic = anneal.setDevice('auto')
  let sum
  let error
  try {
    sum = await anneal.tensor([1, 2, 3], { device: 'cuda' }).add(1).sum().item()
  } catch ({ code, message }) {
    error = { code, message }
  }
  const { CUDA } = anneal.doctor().facts
  console.log(JSON.stringify({ automatic, sum, error, CUDA }))
}

main()
