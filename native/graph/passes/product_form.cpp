#include "graph/passes/product_form.h"

#include <algorithm>

#include "cpu/scalar.h"

namespace anneal::passes {
namespace {

using After = ProductForm::After;
using Instruction = cpu::Chain::Instruction;

template <class F>
bool does(const Instruction& i) {
  constexpr int unary = scalar::indexOf<F>(scalar::Unary{}), binary = scalar::indexOf<F>(scalar::Binary{});
  return unary >= 0 ? i.inputs == 1 && i.functor == unary : i.inputs == 2 && i.functor == binary;
}

After activationOf(const Instruction& i) {
  if (does<scalar::Relu>(i)) return After::Relu;
  if (does<scalar::Gelu>(i)) return After::Gelu;
  if (does<scalar::GeluTanh>(i)) return After::GeluTanh;
  if (does<scalar::ReluGrad>(i)) return After::ReluGrad;
  if (does<scalar::GeluGrad>(i)) return After::GeluGrad;
  return does<scalar::GeluTanhGrad>(i) ? After::GeluTanhGrad : After::Nothing;
}

/// Goes through a chain from the product on.
class Reader {
 public:
  Reader(const cpu::Chain& chain, std::span<const View> in, const View& out, int64_t width)
      : chain_(chain), in_(in), out_(out), width_(width) {}

  std::optional<ProductForm> read() {
    if (!isFloat(out_.dtype)) return std::nullopt;
    for (const Instruction& i : chain_.instructions) {
      if (form_.after != After::Nothing || i.functor < 0 || i.result != out_.dtype) return std::nullopt;
      if (!(does<scalar::Add>(i) ? add(i) : activate(i))) return std::nullopt;
      now_ = i.to;
    }
    for (size_t k = 0; k < chain_.outputs.size(); ++k) {
      if (chain_.outputs[k] == now_) form_.result = int(k);
      else if (chain_.outputs[k] == before_) form_.before = int(k);
      else return std::nullopt;
    }
    return form_.result < 0 ? std::nullopt : std::optional(form_);
  }

 private:
  const View* input(int r) const { return r > 0 && r < chain_.inputs ? &in_[size_t(r) - 1] : nullptr; }
  bool alike(const View* v) const { return v && v->dtype == out_.dtype && v->shape == out_.shape && v->contiguous(); }
  /// One number for each column, added to every row.
  bool isBias(const View* v) const {
    return v && v->dtype == out_.dtype && v->shape.rank() > 0 && width_ > 1 && v->size() == width_ &&
           v->shape.back() == width_ && v->shape.rank() <= out_.shape.rank() && v->contiguous();
  }

  bool add(const Instruction& i) {
    if (i.from[0] != now_ && i.from[1] != now_) return false;
    const int other = i.from[0] == now_ ? i.from[1] : i.from[0];
    if (form_.residual >= 0) return false;
    if (alike(input(other))) form_.residual = other;
    else if (form_.bias < 0 && isBias(input(other))) form_.bias = other;
    else return false;
    return true;
  }

  bool activate(const Instruction& i) {
    form_.after = activationOf(i);
    before_ = now_;
    if (form_.after == After::Nothing || i.from[0] != now_) return false;
    if (i.inputs == 1) return true;
    form_.other = i.from[1];
    return alike(input(form_.other));
  }

  const cpu::Chain& chain_;
  std::span<const View> in_;
  const View& out_;
  const int64_t width_;
  ProductForm form_;
  int now_ = 0, before_ = -1;  // registers
};

}  // namespace

std::optional<ProductForm> productForm(const cpu::Chain& chain, std::span<const View> in, const View& out,
                                       int64_t width) {
  return Reader(chain, in, out, width).read();
}

}  // namespace anneal::passes
