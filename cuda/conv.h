#pragma once
#include "cpu/conv.h"

namespace anneal::cuda {

using cpu::ConvAfter;
using cpu::ConvShape;

// Convolutions by cuDNN where it is there and takes them, else by own kernels, which take every shape and
// floating-point dtype. Data is contiguous and of one dtype.

/// y = after(convolution(x, weight) + bias); `bias` and what is in `after` may be undefined.
void convolve(const ConvShape& s, const View& x, const View& weight, const View& bias, const ConvAfter& after,
              const View& y);
/// The gradient of x from that of y, plus `bias` on every channel where it is defined.
void convolveData(const ConvShape& s, const View& grad, const View& weight, const View& bias, const View& dx);
/// The gradient of the weight from x and the gradient of y.
void convolveWeights(const ConvShape& s, const View& x, const View& grad, const View& dw);

}  // namespace anneal::cuda
