#pragma once
#include "op/define.h"

namespace anneal::ops {

/// x Wᵀ + b, with W [out, in].
extern const Op<None> linear;

}  // namespace anneal::ops
