#pragma once
#include <string>

#include "cpu/conv.h"

namespace anneal::cuda {

enum class ConvWay { Forward, Data, Weights };

/// Does y = convolution(x, weight), or the gradient of x from that of y, or of the weight from both, by cuDNN: the data
/// is contiguous and of one dtype, and not empty. False where the library is not there or has no deterministic way.
bool convolveByLibrary(ConvWay way, const cpu::ConvShape& s, const View& x, const View& weight, const View& y);

/// The library's version, or why it cannot be used and what to do.
std::string describeDnn();

}  // namespace anneal::cuda
