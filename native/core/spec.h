#pragma once
#include "core/dtype.h"
#include "core/shape.h"

namespace anneal {

/// What is known of a tensor before its value.
struct Spec {
  Shape shape;
  DType dtype = DType::Float32;
  int64_t size() const { return shape.product(); }
  bool operator==(const Spec&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Spec& s) { return out << s.dtype << s.shape; }

}  // namespace anneal
