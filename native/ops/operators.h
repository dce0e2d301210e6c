#pragma once
#include "ops/arithmetic.h"
#include "ops/comparison.h"
#include "ops/creation.h"

namespace anneal {

// Arithmetic as it is written, for gradients and compositions. Numbers do not change the dtype of the tensors beside
// them.
inline Tensor operator+(const Tensor& a, const Tensor& b) { return ops::add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return ops::sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return ops::mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return ops::div(a, b); }
inline Tensor operator+(const Tensor& a, double b) { return ops::add(a, ops::number(b)); }
inline Tensor operator-(const Tensor& a, double b) { return ops::sub(a, ops::number(b)); }
inline Tensor operator*(const Tensor& a, double b) { return ops::mul(a, ops::number(b)); }
inline Tensor operator/(const Tensor& a, double b) { return ops::div(a, ops::number(b)); }
inline Tensor operator+(double a, const Tensor& b) { return ops::add(ops::number(a), b); }
inline Tensor operator-(double a, const Tensor& b) { return ops::sub(ops::number(a), b); }
inline Tensor operator*(double a, const Tensor& b) { return ops::mul(ops::number(a), b); }
inline Tensor operator/(double a, const Tensor& b) { return ops::div(ops::number(a), b); }
inline Tensor operator-(const Tensor& a) { return ops::neg(a); }
inline Tensor operator>(const Tensor& a, double b) { return ops::greater(a, ops::number(b)); }
inline Tensor operator<(const Tensor& a, double b) { return ops::less(a, ops::number(b)); }
inline Tensor operator>=(const Tensor& a, double b) { return ops::greaterEqual(a, ops::number(b)); }
inline Tensor operator<=(const Tensor& a, double b) { return ops::lessEqual(a, ops::number(b)); }

}  // namespace anneal
