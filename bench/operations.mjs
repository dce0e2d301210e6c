// Single operations and products, on Anneal. Each is prepared by a function that gives one which runs it.
import { anneal } from './anneal.mjs'
import { floats } from './models/inputs.mjs'

const { scope, synchronize, tensor } = anneal

/** Runs `make` over and over, never far ahead of the device. */
function repeated(make) {
  return async iterations => {
    for (let i = 0; i < iterations; i++) {
      const result = make()
      if (i % 8 === 7) await result.ready()
      result.dispose()
    }
    await synchronize()
  }
}

function product(m, k, n, dtype = 'float32') {
  const [a, b] = [floats([m, k], 1).cast(dtype), floats([k, n], 2).cast(dtype)]
  return repeated(() => a.matmul(b))
}

export const operations = {
  add4() {
    const [a, b] = [tensor([1, 2, 3, 4]), tensor([1, 2, 3, 4])]
    return async iterations => {
      let c
      for (let i = 0; i < iterations; i++) {
        c = a.add(b)
        if (i % 1000 === 999) await c.data()
      }
      await c.data()
    }
  },
  mm64() {
    const [a, b] = [floats([64, 64], 1).requireGrad(), floats([64, 64], 2).requireGrad()]
    return async iterations => {
      for (let i = 0; i < iterations; i++) {
        scope(() => {
          a.grad = undefined
          b.grad = undefined
          a.matmul(b).relu().sum().backward()
        })
        if (i % 100 === 99) await a.grad.data()
      }
      await synchronize()
    }
  },
  matmul1024: () => product(1024, 1024, 1024),
  matmul2048: () => product(2048, 768, 3072),
  matmul2048bfloat16: () => product(2048, 768, 3072, 'bfloat16'),
  /** 256 MiB read and as many written. */
  copy() {
    const x = floats([2 ** 26], 1)
    return repeated(() => x.neg())
  },
}
