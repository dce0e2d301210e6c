#include <algorithm>

#include "graph/capture.h"
#include "graph/tape.h"
#include "op/key.h"
#include "op/precision.h"
#include "op/row.h"
#include "ops/views.h"
#include "runtime/context.h"

namespace anneal {
namespace {

constexpr double kSmall = 8192;  // scalar operations that a caller may do itself rather than queue

Device& deviceOf(const Row& row, Inputs in) {
  Device* found = nullptr;
  for (const Tensor& t : in) {
    if (!t || !t.impl()->storage) continue;
    if (found && found != &t.device())
      fail(Code::Device, row.name, ": tensors are on different devices: ", found->name(), " and ", t.device().name(),
           "; move them with to()");
    found = &t.device();
  }
  return found ? *found : defaultDevice();
}

/// Whether the call is to be recorded. Outputs of an op that is not differentiable are cut off from the record.
bool recording(Context& context, Inputs in) {
  if (std::none_of(in.begin(), in.end(), [](const Tensor& t) { return t && t.requiresGrad(); })) return false;
  ++context.differentiable;
  return context.gradEnabled;
}

void checkValues(const Row& row, Inputs in) {
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i] && !row.optional(std::min(i, row.inputs.size() - 1)))
      fail(Code::Value, row.name, ": input '", row.inputName(i), "' is missing");
    if (in[i] && in[i].shapeOnly())
      fail(Code::Internal, row.name, ": the value of '", row.inputName(i), "' was not kept for the gradient");
  }
}

/// Memory for output `i`: that of an input nobody else holds where the row allows it.
Tensor outputFor(const Row& row, const Spec& spec, Inputs in, size_t i, Device& device) {
  const int donor = row.donor ? row.donor(i, in.size()) : -1;
  if (donor >= 0 && in[size_t(donor)]) {
    const Tensor& t = in[size_t(donor)];
    const auto& storage = t.impl()->storage;
    if (storage && storage->references() == 1 && storage->kind == Block::Kind::Pooled && t.spec() == spec &&
        t.contiguous()) {
      storage->stamp = 0;
      return t.alias(spec.shape, t.strides(), t.impl()->offset);
    }
  }
  return emptyTensor(spec, device);
}

Tensors run(const Row& row, Inputs in, const AttrsRef& attrs, const Specs& specs, Device& device) {
  thread_local std::vector<View> spare;  // of the last task that ran here: most need no memory for their views
  std::vector<View> views = std::move(spare);
  views.clear();
  views.reserve(in.size() + specs.size());
  Tensors materialised;  // keeps contiguous copies until the task is queued
  double cost = 0;
  for (const Tensor& t : in) {
    View view;  // emplace_back() would clear all of it first
    if (!t) {
      view.defined = false;
    } else if (row.reads(t, device.type())) {
      t.view(view);
    } else {
      materialised.push_back(ops::contiguous(t));
      materialised.back().view(view);
    }
    views.push_back(view);
    if (!t) continue;
    cost += double(t.size());
  }
  Tensors out;
  out.reserve(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    out.push_back(outputFor(row, specs[i], in, i, device));
    views.push_back(out.back().view());
    cost += double(specs[i].size());
  }
  const std::span<const View> ins(views.data(), in.size()), outs(views.data() + in.size(), specs.size());
  if (row.cost) cost = row.cost(attrs.get(), ins, outs);
  if (cost <= kSmall && device.runNow(row, attrs.get(), ins, outs)) spare = std::move(views);
  else device.submit({.row = &row, .attrs = attrs, .views = std::move(views), .inputs = in.size()});
  return out;
}

/// Inputs as a graph that is being captured knows them.
Tensors seenBy(Capture& capture, Inputs in) {
  Tensors out;
  for (const Tensor& t : in) {
    if (t) Capture::requireAlive(t);
    if (t && t.impl()->storage && !t.symbolic()) capture.requireHere(t);
    out.push_back(t && t.impl()->storage && !t.symbolic() ? capture.constant(t) : t);
  }
  return out;
}

/// The results of the parts, which may have gradients that the op itself has not.
Tensors composedWithoutGradient(const Row& row, Inputs in, const AttrsRef& attrs) {
  Tensors out;
  {
    GradMode off(false);
    for (const Tensor& t : row.lower(attrs.get(), in)) out.push_back(t.detach());
  }
  record(row, attrs, in, out);
  return out;
}

}  // namespace

Tensor nextKey(int64_t count) {
  Context& context = Context::current();
  return context.capture ? context.capture->key(count) : context.generator.next(count);
}

void requireKey(const std::string& op, const Tensor& key) {
  require(key.spec() == Spec{{2}, DType::Int64}, Code::Value, op, ": key must be int64[2], a seed and an offset; got ",
          key.spec());
}

Tensors dispatch(const Row& row, Inputs given, const AttrsRef& attrs) {
  Tensors completed;  // the inputs with what was left out at the end, and a key for a random op that got none
  Inputs in = given;
  if (in.size() < row.inputs.size() && !row.variadic(row.inputs.size() - 1)) {
    completed.assign(in.begin(), in.end());
    completed.resize(row.inputs.size());
    in = completed;
  }
  Context& context = Context::current();
  if (context.capture) {
    completed = seenBy(*context.capture, in);
    in = completed;
  }
  if (context.autocast != DType::Float32) [[unlikely]] {
    if (const Precision precision = precisionOf(row); precision != Precision::Keep) {
      const Tensors cast = recast(in, precision, context.autocast);
      AutocastOff off;
      return dispatch(inWantedForm(row), cast, attrs);
    }
  }
  bool record = recording(context, in);
  Device& device = deviceOf(row, in);
  const bool kernel = row.view || row.kernels[size_t(device.type())];
  if ((record && row.gradient == Gradient::Lower) || !kernel || (context.preferLower && row.lower)) {
    require(bool(row.lower), Code::Device, row.name, ": is not available on ", device.name());
    context.preferLower = false;  // for this op, not for those that it is composed of
    DeviceScope on(device);
    if (!record || row.gradient != Gradient::NonDifferentiable) return row.lower(attrs.get(), in);
    return composedWithoutGradient(row, in, attrs);
  }
  checkValues(row, in);
  Tensors out;
  if (row.view) {
    out = row.view(attrs.get(), in);
  } else {
    Specs specs = row.infer(attrs.get(), in);
    for (const Spec& s : specs) checkShape(row.name, s.shape);
    if (row.random && in.back()) {
      requireKey(row.name, in.back());
    } else if (row.random) {
      if (completed.empty()) completed.assign(in.begin(), in.end());
      completed.back() = nextKey(specs[0].size());
      in = completed;
    }
    out = context.capture ? context.capture->emit(row, attrs, in, specs) : run(row, in, attrs, specs, device);
  }
  // Floats that come of an op without a gradient are recorded too, so that going back through them is an error.
  if (record) anneal::record(row, attrs, in, out);
  return out;
}

}  // namespace anneal
