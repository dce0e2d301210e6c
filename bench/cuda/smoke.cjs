// A little of each kind of kernel, with sizes that leave remainders: for compute-sanitizer, under which all is slow.
const anneal = require('../../dist')

async function main() {
  anneal.setDevice('cuda')
  anneal.manualSeed(1)
  const x = anneal.randomNormal([37, 65])
  const w = anneal.randomNormal([29, 65])
  const index = anneal.tensor([3, 0, 36, 3], { dtype: 'int64' })
  const results = {
    map: x.mul(2).add(1).gelu(),
    strided: x.transpose(0, 1).exp(),
    broadcast: x.add(x.sum({ axis: 1, keepDims: true })),
    copy: x.transpose(0, 1).contiguous(),
    cast: x.cast('bfloat16').cast('float64').cast('int8'),
    rows: x.sum({ axis: 1 }),
    columns: x.var({ axis: 0 }),
    whole: x.max(),
    large: anneal.randomUniform([300001]).mean(),
    place: x.argmax({ axis: 1 }),
    softmax: x.softmax(),
    product: anneal.linear(x, w),
    gathered: x.indexSelect(index, 0),
    added: anneal.zerosLike(x).indexAdd(index, x.slice([0], [4]), 0),
    joined: anneal.concat([x, x], { axis: 0 }),
    permutation: anneal.permutation(1001),
  }
  for (const [name, result] of Object.entries(results)) {
    const values = await result.data()
    if (values.length !== result.size) throw new Error(`${name}: ${values.length} values of ${result.size}`)
  }
  console.log(`${Object.keys(results).length} results on ${anneal.devices().at(-1).hardware}`)
}

main()
