// Times of single ops on the GPU, as JSON: the counterpart of torch_run.py, to be run beside it on the same machine.
const anneal = require('../../dist')

const emulated = () => anneal.devices().some(d => d.hardware === 'emulated')

/** Seconds for one call: the least and the median of several runs of many calls, each waited for at its end. */
async function time(call, calls, runs = 7) {
  const took = []
  for (let r = 0; r <= runs; r++) {
    const begin = process.hrtime.bigint()
    for (let i = 0; i < calls; i++) anneal.scope(call)
    await anneal.synchronize()
    if (r > 0) took.push(Number(process.hrtime.bigint() - begin) / 1e9 / calls) // the first warms up
  }
  took.sort((a, b) => a - b)
  return { least: took[0], median: took[runs >> 1] }
}

async function main() {
  anneal.setDevice('cuda')
  const small = emulated() // a rehearsal: the numbers mean nothing there
  const n = small ? 1 << 12 : 1 << 26
  const calls = small ? 1 : 50
  const vector = dtype => anneal.randomNormal([n]).cast(dtype)
  const matrix = (rows, columns, dtype) => anneal.randomNormal([rows, columns]).cast(dtype)
  const side = small ? 64 : 8192
  const rows = small ? 8 : 16384
  const results = {}
  const put = async (name, bytes, flops, call) => {
    const t = await time(call, calls)
    results[name] = { ...t, gigabytesPerSecond: bytes / t.median / 1e9, teraflops: flops / t.median / 1e12 }
  }
  for (const dtype of ['float32', 'bfloat16']) {
    const size = dtype === 'float32' ? 4 : 2
    const [a, b] = [vector(dtype), vector(dtype)]
    await put(`copy ${dtype}`, 2 * n * size, 0, () => a.add(0))
    await put(`add ${dtype}`, 3 * n * size, 0, () => a.add(b))
    await put(`gelu ${dtype}`, 2 * n * size, 0, () => a.gelu())
    await put(`sum ${dtype}`, n * size, 0, () => a.sum())
    const wide = a.reshape([rows, -1])
    await put(`sum rows ${dtype}`, n * size, 0, () => wide.sum({ axis: 1 }))
    await put(`sum columns ${dtype}`, n * size, 0, () => wide.sum({ axis: 0 }))
    await put(`softmax ${dtype}`, 2 * n * size, 0, () => wide.softmax())
    await put(`transpose ${dtype}`, 2 * n * size, 0, () => wide.transpose(0, 1).contiguous())
    const [l, r] = [matrix(side, side, dtype), matrix(side, side, dtype)]
    await put(`matmul ${side} ${dtype}`, 0, 2 * side ** 3, () => l.matmul(r))
  }
  const tiny = anneal.tensor([1, 2, 3, 4])
  const t = await time(() => tiny.add(1), small ? 10 : 2000)
  results['add of 4 elements'] = t
  console.log(JSON.stringify({ devices: anneal.devices(), results }, undefined, 2))
}

main()
