#pragma once
#include "op/define.h"

namespace anneal::ops {

struct To {
  std::string device;
};
extern const Op<To> to;

/// `x` on `device`, without a record for gradients: itself where it is there already or travels with calls.
Tensor movedTo(const Tensor& x, Device& device);

}  // namespace anneal::ops
