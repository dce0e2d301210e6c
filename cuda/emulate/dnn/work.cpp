#include "work.h"

#include <limits>

namespace anneal::emulate {
namespace {

double apply(int64_t mode, double x, double b, bool where) {
  switch (mode) {
    case CUDNN_POINTWISE_ADD: return x + b;
    case CUDNN_POINTWISE_MUL: return x * b;
    case CUDNN_POINTWISE_DIV: return x / b;
    case CUDNN_POINTWISE_SUB: return x - b;
    case CUDNN_POINTWISE_EXP: return std::exp(x);
    case CUDNN_POINTWISE_LOG: return std::log(x);
    case CUDNN_POINTWISE_CMP_GE: return x >= b;
    default: return where ? x : b;
  }
}

int64_t offsetOf(const std::vector<int64_t>& strides, const int64_t (&place)[4]) {
  int64_t offset = 0;
  for (size_t i = 0; i < 4; ++i) offset += strides[i] * place[i];
  return offset;
}

}  // namespace

Work::Work(std::shared_ptr<const Node> graph, std::map<int64_t, std::byte*> places)
    : graph_(std::move(graph)), places_(std::move(places)) {}

bool Work::sound() {
  for (const auto& operation : graph_->nodes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS))
    for (const auto& [name, nodes] : operation->nodes) {
      if (nodes[0]->type != CUDNN_BACKEND_TENSOR_DESCRIPTOR) continue;
      const Operand o = operand(*operation, name);
      if (o.isVirtual()) continue;
      if (!o.at || (!o.byValue() && !o.lies())) return false;
      if (o.byValue()) numbers_.emplace(o.name(), Values(o.sizes())).first->second.all[0] = o.load(0);
    }
  return true;
}

Operand Work::operand(const Node& operation, Name name) const {
  const Node& node = operation.node(name);
  const auto found = places_.find(node.number(CUDNN_ATTR_TENSOR_UNIQUE_ID));
  return {node, found == places_.end() ? nullptr : found->second};
}

Values& Work::values(const Node& operation, Name name) {
  const Operand o = operand(operation, name);
  const auto found = known_.find(o.name());
  if (found != known_.end()) return found->second;
  Values& v = known_.emplace(o.name(), Values(o.sizes())).first->second;
  size_t i = 0;
  forEach(o.sizes(), [&](const auto& place) {
    v.all[i++] = o.at ? o.load(offsetOf(o.strides(), place)) : std::numeric_limits<double>::quiet_NaN();
  });
  return v;
}

template <class F>
void Work::fill(const Operand& to, F&& f) {
  Values v(to.sizes());
  size_t i = 0;
  forEach(to.sizes(), [&](const auto& place) {
    const double value = v.all[i++] = f(place);
    if (!to.isVirtual()) to.store(offsetOf(to.strides(), place), value * factor_);
  });
  if (to.isVirtual()) known_.insert_or_assign(to.name(), std::move(v));
}

void Work::multiply(const Node& operation) {
  Values &a = values(operation, CUDNN_ATTR_OPERATION_MATMUL_ADESC),
         &b = values(operation, CUDNN_ATTR_OPERATION_MATMUL_BDESC);
  const Operand to = operand(operation, CUDNN_ATTR_OPERATION_MATMUL_CDESC);
  const int64_t inner = a.sizes[3], shared = to.sizes()[1] / b.sizes[1];
  fill(to, [&](const int64_t(&p)[4]) {
    double sum = 0;
    for (int64_t k = 0; k < inner; ++k) sum += a.at(p[0], p[1], p[2], k) * b.at(p[0], p[1] / shared, k, p[3]);
    return sum;
  });
}

void Work::elementwise(const Node& operation) {
  const Node& how = operation.node(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
  const int64_t mode = how.number(CUDNN_ATTR_POINTWISE_MODE);
  const Operand to = operand(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
  if (mode == CUDNN_POINTWISE_GEN_INDEX)
    return fill(to, [&](const int64_t(&p)[4]) { return double(p[how.number(CUDNN_ATTR_POINTWISE_AXIS)]); });
  const auto given = [&](Name name) { return operation.has(name) ? &values(operation, name) : nullptr; };
  Values &x = values(operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC), *b = given(CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
         *where = given(CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
  fill(to, [&](const int64_t(&p)[4]) {
    return apply(mode, x.of(to.sizes(), p), b ? b->of(to.sizes(), p) : 0, where && where->of(to.sizes(), p) != 0);
  });
}

void Work::reduce(const Node& operation) {
  const bool most = operation.node(CUDNN_ATTR_OPERATION_REDUCTION_DESC).number(CUDNN_ATTR_REDUCTION_OPERATOR) ==
                    CUDNN_REDUCE_TENSOR_MAX;
  Values& x = values(operation, CUDNN_ATTR_OPERATION_REDUCTION_XDESC);
  const Operand to = operand(operation, CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
  Values totals(to.sizes());
  for (double& total : totals.all) total = most ? -INFINITY : 0;
  forEach(x.sizes, [&](const int64_t(&p)[4]) {
    double& total = totals.of(x.sizes, p);
    const double value = x.at(p[0], p[1], p[2], p[3]);
    total = most ? std::fmax(total, value) : total + value;
  });
  fill(to, [&](const int64_t(&p)[4]) { return totals.at(p[0], p[1], p[2], p[3]); });
}

void Work::view(const Node& operation) {
  const Operand from = operand(operation, CUDNN_ATTR_OPERATION_RESHAPE_XDESC),
                to = operand(operation, CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
  Values& x = values(operation, CUDNN_ATTR_OPERATION_RESHAPE_XDESC);
  std::map<int64_t, double> inMemory;
  size_t i = 0;
  forEach(x.sizes, [&](const auto& place) { inMemory[offsetOf(from.strides(), place)] = x.all[i++]; });
  fill(to, [&](const int64_t(&p)[4]) { return inMemory.at(offsetOf(to.strides(), p)); });
}

void Work::run() {
  known_ = numbers_;
  for (const auto& operation : graph_->nodes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS)) switch (operation->type) {
      case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR: multiply(*operation); break;
      case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR: reduce(*operation); break;
      case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR: view(*operation); break;
      default: elementwise(*operation);
    }
}

}  // namespace anneal::emulate
