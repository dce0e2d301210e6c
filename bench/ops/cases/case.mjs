// What a case of the op benchmarks is: inputs, the op on either side, and whether its gradients are timed too.
// Inputs: a shape, for floats in [-1, 1); or { shape, low, high }; { shape, below } for indices; { images: [N, H, W, C] } and
// { kernels: [out, kh, kw, in] } for what PyTorch gets as channels_last. With `dtype` they are converted, with `tile` repeated so many times along
// the first axis.
// The op takes the inputs and what `prepare` makes of them; PyTorch's is a Python expression over both.

/** A function that adds a case to `cases`. */
export const collect = cases => (name, inputs, anneal, torch, more) => {
  cases.push({ name, inputs, anneal, torch, ...more })
}

export const both = { backward: true }
export const tag = n => (n >= 1e6 ? `${n / 1e6}M` : `${n / 1e3}k`)
export const positive = { low: 0.1, high: 4 }
export const wide = { low: -10, high: 10 }
