#pragma once
#include "op/define.h"

namespace anneal::ops {

struct Einsum {
  std::string equation;
};
/// Einstein's summation over labelled axes.
extern const Op<Einsum> einsum;

}  // namespace anneal::ops
