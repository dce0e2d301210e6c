#pragma once
#include <concepts>
#include <utility>

#include "op/row.h"

namespace anneal {

/// The typed face of VjpCall for an op with attributes A.
template <class A>
struct Vjp {
  const A& attrs;
  const VjpCall& call;
  const Tensor& in(size_t i = 0) const { return call.in[i]; }
  const Tensor& out(size_t i = 0) const { return call.out[i]; }
  const Tensor& grad(size_t i = 0) const { return call.grads[i]; }
  bool need(size_t i = 0) const { return i < call.need.size() && call.need[i]; }
  size_t inputs() const { return call.in.size(); }
};

/// A call as `infer`, `view` and `lower` see it; `op` is the name that error messages begin with.
template <class A>
struct Args {
  const A& attrs;
  Inputs in;
  const std::string& op;
};

/// What is written down of an op; see Row for the meaning of the parts.
template <class A>
struct Definition {
  std::string name, doc;
  std::vector<std::string> inputs;
  std::vector<Field> attrs = {};
  std::vector<std::string> outputs = {"result"};
  Specs (*infer)(const Args<A>&) = nullptr;
  Tensor (*view)(const Args<A>&) = nullptr;    // of one output
  Tensors (*views)(const Args<A>&) = nullptr;  // of several
  Tensors (*lower)(const Args<A>&) = nullptr;
  Tensors (*vjp)(const Vjp<A>&) = nullptr;
  Saves saves = {};
  bool nonDifferentiable = false;
  bool method = true;
  bool internal = false;
  bool anyStrides = false;
  bool overwrites = false;
  bool random = false;
  int (*donor)(size_t output, size_t inputs) = nullptr;
  bool keeps = false;
  double (*cost)(const A&, std::span<const View>, std::span<const View>) = nullptr;
  Pointwise (*pointwise)(const A&) = nullptr;  // set by mapOp
};

/// A defined op, callable from C++: `softmax(x, {.axis = 1})`. Inputs come first; an undefined Tensor stands for an
/// absent one.
template <class A>
class Op {
 public:
  explicit Op(Definition<A> d) {
    auto row = std::make_unique<Row>();
    row->name = d.name;
    row->doc = d.doc;
    row->inputs = d.inputs;
    row->outputs = d.outputs;
    row->fields = d.attrs;
    row->saves = d.saves;
    row->method = d.method;
    row->internal = d.internal;
    row->anyStrides = d.anyStrides;
    row->overwrites = d.overwrites;
    row->random = d.random;
    row->donor = d.donor;
    row->keeps = d.keeps;
    row->gradient =
        d.vjp ? Gradient::Vjp : (d.nonDifferentiable || !d.lower ? Gradient::NonDifferentiable : Gradient::Lower);
    row->defaults = [] { return std::make_shared<A>(); };
    if (d.infer) row->infer = bind<Specs>(d.infer, d.name);
    if (d.view) row->view = [f = bind<Tensor>(d.view, d.name)](const void* a, Inputs in) { return Tensors{f(a, in)}; };
    if (d.views) row->view = bind<Tensors>(d.views, d.name);
    if (d.lower) row->lower = bind<Tensors>(d.lower, d.name);
    if (d.vjp) row->vjp = [f = d.vjp](const VjpCall& c) { return f(Vjp<A>{*static_cast<const A*>(c.attrs), c}); };
    if (d.cost) {
      row->cost = [f = d.cost](const void* a, std::span<const View> in, std::span<const View> out) {
        return f(*static_cast<const A*>(a), in, out);
      };
    }
    if (d.pointwise) row->pointwise = [f = d.pointwise](const void* a) { return f(*static_cast<const A*>(a)); };
    row_ = row.get();
    Registry::get().add(std::move(row));
  }

  const Row& row() const { return *row_; }

  Tensors all(Inputs inputs, A attrs = {}) const {
    if constexpr (std::is_empty_v<A>) {
      static const AttrsRef none = std::make_shared<A>();
      return dispatch(*row_, inputs, none);
    } else {
      return dispatch(*row_, inputs, std::make_shared<A>(std::move(attrs)));
    }
  }
  Tensor operator()(const Tensors& inputs, A attrs = {}) const { return all(inputs, std::move(attrs)).front(); }
  template <std::same_as<Tensor>... More>
  Tensor operator()(const Tensor& first, const More&... more) const {
    return call({}, first, more...);
  }
  Tensor operator()(const Tensor& a, A attrs) const { return call(std::move(attrs), a); }
  Tensor operator()(const Tensor& a, const Tensor& b, A attrs) const { return call(std::move(attrs), a, b); }
  Tensor operator()(const Tensor& a, const Tensor& b, const Tensor& c, A attrs) const {
    return call(std::move(attrs), a, b, c);
  }
  Tensor operator()(const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& d, A attrs) const {
    return call(std::move(attrs), a, b, c, d);
  }

 private:
  template <class R>
  static std::function<R(const void*, Inputs)> bind(R (*f)(const Args<A>&), const std::string& name) {
    return [f, name](const void* attrs, Inputs in) { return f({*static_cast<const A*>(attrs), in, name}); };
  }
  template <class... T>
  Tensor call(A attrs, const T&... inputs) const {
    const std::array<Tensor, sizeof...(T)> list{inputs...};
    return all(list, std::move(attrs)).front();
  }
  Row* row_;
};

/// Gives the op called `name` a kernel on `device`.
template <class A>
struct Implement {
  Implement(const std::string& name, DeviceType device, void (*kernel)(const Call<A>&)) {
    Registry::get().implement(name, device,
                              [kernel](const void* attrs, std::span<const View> in, std::span<const View> out) {
                                kernel(Call<A>{*static_cast<const A*>(attrs), in, out});
                              });
  }
};

}  // namespace anneal
