#pragma once
#include "op/define.h"

namespace anneal::ops {

struct IndexAxis {
  int64_t axis = 0;
};
extern const Op<IndexAxis> gather, scatter, scatterAdd, indexSelect, indexAdd;

/// The gradient of indexSelect: rows of zeros to which slices are added; those of index `skip` are left out.
struct IndexSelectGrad {
  int64_t axis = 0, size = 0;
  std::optional<int64_t> skip;
};
extern const Op<IndexSelectGrad> indexSelectGrad;

struct Embedding {
  std::optional<int64_t> paddingIndex;
};
extern const Op<Embedding> embedding;

extern const Op<None> take, maskedFill;

struct OneHot {
  int64_t classes = 0;
  DType dtype = DType::Float32;
};
extern const Op<OneHot> oneHot;

/// The positions of the `count` elements that are not 0: row-major numbers if `flat`, else one place per axis.
struct Nonzero {
  int64_t count = 0;
  bool flat = false;
};
extern const Op<Nonzero> nonzeroAt;

}  // namespace anneal::ops
