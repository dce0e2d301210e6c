#if defined(ANNEAL_CUDA_DNN)
#include "dnn_attention.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <utility>

namespace anneal::cuda {
namespace {

using Sizes = std::vector<int64_t>;

enum Name : int64_t { kQ = 1, kK, kV, kOut, kLogSumExp, kGrad, kDq, kDk, kDv, kSums, kScale, kHidden, kOne, kBetween };

constexpr float kHiddenScore = -std::numeric_limits<float>::infinity(), kOneValue = 1;

cudnnDataType_t typeOf(DType dtype) {
  switch (dtype) {
    case DType::Float16: return CUDNN_DATA_HALF;
    case DType::BFloat16: return CUDNN_DATA_BFLOAT16;
    default: return CUDNN_DATA_FLOAT;
  }
}

/// How a tensor lies in memory, by cuDNN's words.
struct Layout {
  Sizes sizes, strides;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;

  explicit Layout(Sizes of, cudnnDataType_t type = CUDNN_DATA_FLOAT) : sizes(std::move(of)), strides(4, 1), type(type) {
    for (int i = 2; i >= 0; --i) strides[size_t(i)] = strides[size_t(i) + 1] * sizes[size_t(i) + 1];
  }
  explicit Layout(const View& v)
      : sizes(v.shape.begin(), v.shape.end()), strides(v.strides.begin(), v.strides.end()), type(typeOf(v.dtype)) {
    // The stride of a single element may be anything: as if there were another one, after all that is there.
    int64_t end = 1;
    for (size_t i = 0; i < 4; ++i) end = std::max(end, sizes[i] > 1 ? sizes[i] * strides[i] : sizes[3]);
    for (size_t i = 0; i < 3; ++i)
      if (sizes[i] == 1) strides[i] = end;
  }
  Layout turned() const {
    Layout other = *this;
    std::swap(other.sizes[2], other.sizes[3]);
    std::swap(other.strides[2], other.strides[3]);
    return other;
  }
};

/// Operations on tensors, in their order. What is computed between two operations has no memory of its own.
class Graph {
 public:
  using Tensor = Descriptor;

  const Tensor& given(int64_t name, const Layout& layout) { return tensor(name, layout, false, false); }
  const Tensor& number(int64_t name) { return tensor(name, Layout({1, 1, 1, 1}), false, true); }
  const Tensor& between(const Layout& layout) { return tensor(next_++, layout, true, false); }

  const Tensor& multiply(const Tensor& to, const Tensor& a, const Tensor& b) {
    Descriptor how(CUDNN_BACKEND_MATMUL_DESCRIPTOR), d(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT).finish();
    d.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a)
        .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b)
        .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, to)
        .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    return add(std::move(d), std::move(how), to);
  }
  const Tensor& elementwise(cudnnPointwiseMode_t mode, const Tensor& to, const Tensor& x, const Tensor* b = nullptr,
                            const Tensor* where = nullptr, int64_t axis = -1) {
    const cudnnDataType_t within = mode == CUDNN_POINTWISE_CMP_GE ? CUDNN_DATA_BOOLEAN : CUDNN_DATA_FLOAT;
    Descriptor how(CUDNN_BACKEND_POINTWISE_DESCRIPTOR), d(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, within);
    if (axis >= 0) how.set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, axis);
    how.finish();
    d.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
    if (b) d.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
    if (where) d.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, *where);
    return add(std::move(d), std::move(how), to);
  }
  /// Over the axes that `to` has no more.
  const Tensor& reduce(cudnnReduceTensorOp_t by, const Tensor& to, const Tensor& x) {
    Descriptor how(CUDNN_BACKEND_REDUCTION_DESCRIPTOR), d(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    how.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
        .set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, by)
        .finish();
    d.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, to);
    return add(std::move(d), std::move(how), to);
  }
  /// The same elements by other strides.
  const Tensor& view(const Tensor& to, const Tensor& x) {
    Descriptor d(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    d.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x).set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, to);
    operations_.push_back(std::move(d.finish()));
    return to;
  }

  Descriptor finish(cudnnHandle_t handle) const {
    std::vector<cudnnBackendDescriptor_t> all;
    for (const Descriptor& d : operations_) all.push_back(d.get());
    Descriptor d(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    if (handle) d.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle);
    d.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, int64_t(all.size()), all.data());
    return std::move(d.finish());
  }

 private:
  const Tensor& tensor(int64_t name, const Layout& layout, bool isVirtual, bool byValue) {
    Tensor& d = tensors_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, name)
        .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, layout.type)
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, int64_t(16))
        .set(CUDNN_ATTR_TENSOR_DIMENSIONS, layout.sizes)
        .set(CUDNN_ATTR_TENSOR_STRIDES, layout.strides)
        .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, isVirtual)
        .set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, byValue);
    d.finish();
    return d;
  }
  const Tensor& add(Descriptor operation, Descriptor how, const Tensor& to) {
    operations_.push_back(std::move(operation.finish()));
    ways_.push_back(std::move(how));
    return to;
  }

  std::deque<Tensor> tensors_;
  std::deque<Descriptor> operations_, ways_;
  int64_t next_ = kBetween;
};
using Tensor = Graph::Tensor;

/// What both directions have in common.
struct Attention {
  const AttentionProblem& p;
  Graph g;
  const int64_t batch = p.q.shape[0], heads = p.q.shape[1], queries = p.q.shape[2], keys = p.k.shape[2];
  const Layout scores{{batch, heads, queries, keys}}, rows{{batch, heads, queries, 1}};
  const Layout weights{{batch, heads, queries, keys}, typeOf(p.q.dtype)};
  const Tensor &q = g.given(kQ, Layout(p.q)), &keysTurned = g.given(kK, Layout(p.k).turned());
  const Tensor& logSumExp = g.given(kLogSumExp, rows);
  const Tensor& scale = g.number(kScale);

  explicit Attention(const AttentionProblem& p) : p(p) {}

  const Tensor& scaledScores() {
    const Tensor& products = g.multiply(g.between(scores), q, keysTurned);
    return g.elementwise(CUDNN_POINTWISE_MUL, g.between(scores), products, &scale);
  }
  /// Where the key comes after the query, a score that weighs nothing.
  const Tensor& seen(const Tensor& from) {
    if (!p.causal) return from;
    const auto numbered = [&](int64_t axis) -> const Tensor& {
      return g.elementwise(CUDNN_POINTWISE_GEN_INDEX, g.between(Layout(scores.sizes, CUDNN_DATA_INT32)), from, nullptr,
                           nullptr, axis);
    };
    const Tensor &query = numbered(2), &key = numbered(3);
    const Tensor& is =
        g.elementwise(CUDNN_POINTWISE_CMP_GE, g.between(Layout(scores.sizes, CUDNN_DATA_BOOLEAN)), query, &key);
    return g.elementwise(CUDNN_POINTWISE_BINARY_SELECT, g.between(scores), from, &g.number(kHidden), &is);
  }

  void forward() {
    const Tensor& score = seen(scaledScores());
    const Tensor& most = g.reduce(CUDNN_REDUCE_TENSOR_MAX, g.between(rows), score);
    const Tensor& shifted = g.elementwise(CUDNN_POINTWISE_SUB, g.between(scores), score, &most);
    const Tensor& powers = g.elementwise(CUDNN_POINTWISE_EXP, g.between(scores), shifted);
    const Tensor& total = g.reduce(CUDNN_REDUCE_TENSOR_ADD, g.between(rows), powers);
    const Tensor& log = g.elementwise(CUDNN_POINTWISE_LOG, g.between(rows), total);
    g.elementwise(CUDNN_POINTWISE_ADD, logSumExp, most, &log);
    const Tensor& weight = g.elementwise(CUDNN_POINTWISE_DIV, g.between(weights), powers, &total);
    g.multiply(g.given(kOut, Layout(p.out)), weight, g.given(kV, Layout(p.v)));
  }

  /// weightsᵀ of, added up over the heads that share one of k and v.
  void gradientOfShared(int64_t name, const View& to, const Tensor& weight, const Tensor& of) {
    const Tensor& turned = g.view(g.between(weights.turned()), weight);
    const Tensor& sum = g.given(name, Layout(to));
    if (to.shape[1] == heads) {
      g.multiply(sum, turned, of);
      return;
    }
    const Layout whole({batch, heads, keys, to.shape[3]}, typeOf(to.dtype));
    g.reduce(CUDNN_REDUCE_TENSOR_ADD, sum, g.multiply(g.between(whole), turned, of));
  }

  /// dQ is the result of a product. NVIDIA's frontend asks so for attention whose gradients are the same in every run:
  /// the graph that is not has a tensor of floats between, in which blocks add up by atomics. Its engines' notes do not
  /// tell one from the other.
  void backward() {
    const Tensor &out = g.given(kOut, Layout(p.out)), &grad = g.given(kGrad, Layout(p.grad));
    const Layout wide({batch, heads, queries, p.v.shape[3]});
    const Tensor& products = g.elementwise(CUDNN_POINTWISE_MUL, g.between(wide), grad, &out);
    const Tensor& sum = g.reduce(CUDNN_REDUCE_TENSOR_ADD, g.between(rows), products);
    const Tensor& means = g.elementwise(CUDNN_POINTWISE_MUL, g.given(kSums, rows), sum, &g.number(kOne));
    const Tensor& shifted = g.elementwise(CUDNN_POINTWISE_SUB, g.between(scores), scaledScores(), &logSumExp);
    const Tensor& weight = g.elementwise(CUDNN_POINTWISE_EXP, g.between(scores), seen(shifted));
    gradientOfShared(kDv, p.dv, weight, grad);
    const Tensor& back = g.multiply(g.between(scores), grad, g.given(kV, Layout(p.v).turned()));
    const Tensor& apart = g.elementwise(CUDNN_POINTWISE_SUB, g.between(scores), back, &means);
    const Tensor& weighted = g.elementwise(CUDNN_POINTWISE_MUL, g.between(scores), apart, &weight);
    const Tensor& change = g.elementwise(CUDNN_POINTWISE_MUL, g.between(scores), weighted, &scale);
    gradientOfShared(kDk, p.dk, change, q);
    const Tensor& k = g.view(g.between(Layout(p.k)), keysTurned);
    g.multiply(g.given(kDq, Layout(p.dq)), change, k);
  }
};

}  // namespace

AttentionProblem::AttentionProblem(const FlashCall& call, const View& out, const View& logSumExp)
    : gradients(false),
      causal(call.attrs.causal),
      scale(float(call.attrs.scale)),
      q(call.q),
      k(call.k),
      v(call.v),
      out(out),
      logSumExp(logSumExp) {}

AttentionProblem::AttentionProblem(const FlashCall& call, const View& out, const View& logSumExp, const View& grad,
                                   const View& dq, const View& dk, const View& dv)
    : AttentionProblem(call, out, logSumExp) {
  gradients = true;
  this->grad = grad;
  this->dq = dq;
  this->dk = dk;
  this->dv = dv;
}

bool AttentionProblem::describable() const {
  if (q.size() == 0 || k.size() == 0 || v.size() == 0) return false;
  const auto lies = [](const View& view) {
    bool good = reinterpret_cast<uintptr_t>(view.data()) % 16 == 0 && view.strides[3] == 1;
    for (int i = 0; i < 3; ++i) good &= view.shape[i] == 1 || (view.strides[i] > 0 && view.strides[i] % 8 == 0);
    return good;
  };
  const auto all = [&](std::initializer_list<const View*> views) {
    return std::all_of(views.begin(), views.end(), [&](const View* view) { return lies(*view); });
  };
  return scale > 0 && reinterpret_cast<uintptr_t>(logSumExp.data()) % 16 == 0 && all({&q, &k, &v, &out}) &&
         (!gradients || all({&grad, &dq, &dk, &dv}));
}

double AttentionProblem::work() const {
  const double pairs = double(q.shape[0] * q.shape[1]) * double(q.shape[2] * k.shape[2]) * (causal ? 1 : 2);
  return pairs * double(q.shape[3] + v.shape[3]) * (gradients ? 2.5 : 1);
}

std::vector<int64_t> AttentionProblem::key() const {
  std::vector<int64_t> key{gradients, causal, int64_t(q.dtype)};
  const auto add = [&](const View& view) {
    key.insert(key.end(), view.shape.begin(), view.shape.end());
    key.insert(key.end(), view.strides.begin(), view.strides.end());
  };
  for (const View* view : {&q, &k, &v, &out}) add(*view);
  if (gradients)
    for (const View* view : {&grad, &dq, &dk, &dv}) add(*view);
  return key;
}

Descriptor graphOf(const AttentionProblem& p, cudnnHandle_t handle) {
  Attention attention(p);
  if (p.gradients) attention.backward();
  else attention.forward();
  return attention.g.finish(handle);
}

DnnOperands operandsOf(const AttentionProblem& p, void* sums) {
  const auto number = [](const float& value) { return const_cast<float*>(&value); };
  DnnOperands operands{{kQ, p.q.data()},
                       {kK, p.k.data()},
                       {kV, p.v.data()},
                       {kOut, p.out.data()},
                       {kLogSumExp, p.logSumExp.data()},
                       {kScale, number(p.scale)}};
  if (p.causal) operands.push_back({kHidden, number(kHiddenScore)});
  if (p.gradients)
    for (const DnnOperand& o : DnnOperands{{kGrad, p.grad.data()},
                                           {kDq, p.dq.data()},
                                           {kDk, p.dk.data()},
                                           {kDv, p.dv.data()},
                                           {kSums, sums},
                                           {kOne, number(kOneValue)}})
      operands.push_back(o);
  return operands;
}

}  // namespace anneal::cuda

#endif
