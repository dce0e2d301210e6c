#pragma once
#include "core/tensor.h"

namespace anneal {

/// The next key of the calling environment for `count` random numbers; while a function is captured, one that every run
/// of it gets anew.
Tensor nextKey(int64_t count);

/// Throws unless `key` is a seed and an offset; the error names `op`.
void requireKey(const std::string& op, const Tensor& key);

}  // namespace anneal
