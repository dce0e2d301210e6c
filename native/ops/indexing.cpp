#include "ops/indexing.h"

#include "cpu/copy.h"
#include "cpu/elementwise.h"
#include "cpu/gather.h"
#include "op/infer.h"
#include "ops/arithmetic.h"
#include "ops/comparison.h"
#include "ops/creation.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

void requireIndex(const std::string& op, const Tensor& index) {
  require(index.dtype() == DType::Int32 || index.dtype() == DType::Int64, Code::DType, op,
          ": index must be int32 or int64; got ", index.dtype(), "; convert it with cast('int64')");
}

/// What gather and scatter need of an index: the rank of `x`, and sizes inside those of `x` but along the axis.
void checkAlong(const std::string& op, const Tensor& x, const Tensor& index, int64_t axis) {
  requireIndex(op, index);
  require(x.rank() > 0 && index.rank() == x.rank(), Code::Shape, op,
          ": x and index need equally many axes, at least 1: ", x.shape(), " and ", index.shape());
  int along = resolveAxis(op, axis, x.rank());
  for (int i = 0; i < x.rank(); ++i)
    require(i == along || index.shape()[i] <= x.shape()[i], Code::Shape, op, ": index ", index.shape(),
            " is larger than x ", x.shape(), " on axis ", i);
}

Specs inferGather(const Args<IndexAxis>& c) {
  checkAlong(c.op, c.in[0], c.in[1], c.attrs.axis);
  return {{c.in[1].shape(), c.in[0].dtype()}};
}

Specs inferScatter(const Args<IndexAxis>& c) {
  const Tensor &x = c.in[0], &index = c.in[1], &source = c.in[2];
  checkAlong(c.op, x, index, c.attrs.axis);
  require(source.impl()->weak || source.dtype() == x.dtype(), Code::DType, c.op, ": source must have the dtype of x, ",
          x.dtype(), "; got ", source.dtype());
  require(broadcast(c.op, source.shape(), index.shape()) == index.shape(), Code::Shape, c.op, ": source ",
          source.shape(), " does not broadcast to index ", index.shape());
  return {x.spec()};
}

/// The axis of an indexSelect and its like, and the shape with `count` there instead.
int selectAxis(const std::string& op, const Tensor& x, const Tensor& index, int64_t axis) {
  requireIndex(op, index);
  require(index.rank() == 1, Code::Shape, op, ": index must have one axis; got ", index.shape());
  return resolveAxis(op, axis, x.rank());
}
Shape withSize(Shape shape, int axis, int64_t size) {
  shape[axis] = size;
  return shape;
}

Specs inferSelect(const Args<IndexAxis>& c) {
  int axis = selectAxis(c.op, c.in[0], c.in[1], c.attrs.axis);
  return {{withSize(c.in[0].shape(), axis, c.in[1].size()), c.in[0].dtype()}};
}

Specs inferIndexAdd(const Args<IndexAxis>& c) {
  const Tensor &x = c.in[0], &source = c.in[2];
  int axis = selectAxis(c.op, x, c.in[1], c.attrs.axis);
  Shape expected = withSize(x.shape(), axis, c.in[1].size());
  require(source.shape() == expected, Code::Shape, c.op, ": source must have the shape ", expected, "; got ",
          source.shape());
  require(source.dtype() == x.dtype(), Code::DType, c.op, ": source must have the dtype of x, ", x.dtype(), "; got ",
          source.dtype());
  return {x.spec()};
}

Specs inferSelectGrad(const Args<IndexSelectGrad>& c) {
  int axis = selectAxis(c.op, c.in[0], c.in[1], c.attrs.axis);
  return {{withSize(c.in[0].shape(), axis, c.attrs.size), c.in[0].dtype()}};
}

Specs inferMaskedFill(const Args<None>& c) {
  const Tensor &x = c.in[0], &mask = c.in[1], &value = c.in[2];
  require(mask.dtype() == DType::Bool, Code::DType, c.op, ": mask must be bool; got ", mask.dtype());
  require(broadcastAll(c.op, c.in) == x.shape(), Code::Shape, c.op, ": mask ", mask.shape(), " or value ",
          value.shape(), " does not broadcast to x ", x.shape());
  require(value.impl()->weak || value.dtype() == x.dtype(), Code::DType, c.op, ": value must have the dtype of x, ",
          x.dtype(), "; got ", value.dtype());
  return {x.spec()};
}

Specs inferEmbedding(const Args<Embedding>& c) {
  const Shape& weight = c.in[0].shape();
  requireIndex(c.op, c.in[1]);
  require(weight.rank() == 2, Code::Shape, c.op, ": weight must have the shape [rows, size]; got ", weight);
  int64_t rows = weight[0], padding = c.attrs.paddingIndex.value_or(0);
  require(!c.attrs.paddingIndex || (padding >= -rows && padding < rows), Code::Index, c.op, ": paddingIndex ", padding,
          " is out of range for ", rows, " rows");
  Shape shape = c.in[1].shape();
  shape.push(weight[1]);
  return {{shape, c.in[0].dtype()}};
}

template <class A>
cpu::Along alongOf(const char* op, const Call<A>& call) {
  return {op, resolveAxis(op, call.attrs.axis, call.in[0].shape.rank())};
}

void gatherCpu(const Call<IndexAxis>& call) {
  cpu::gatherAlong(alongOf("gather", call), call.in[0], call.in[1], call.out[0]);
}
void scatterInto(const char* op, const Call<IndexAxis>& call, bool add) {
  cpu::copy(call.in[0], call.out[0]);
  cpu::Prepared source(call.in[2], call.in[1].shape, call.in[0].dtype);
  cpu::scatterAlong(alongOf(op, call), call.in[1], source.view(), call.out[0], add);
}
void scatterCpu(const Call<IndexAxis>& call) { scatterInto("scatter", call, false); }
void scatterAddCpu(const Call<IndexAxis>& call) { scatterInto("scatterAdd", call, true); }
void indexSelectCpu(const Call<IndexAxis>& call) {
  cpu::indexSelect(alongOf("indexSelect", call), call.in[0], call.in[1], call.out[0]);
}
void indexAddCpu(const Call<IndexAxis>& call) {
  cpu::copy(call.in[0], call.out[0]);
  cpu::indexAdd(alongOf("indexAdd", call), call.in[1], call.in[2], call.out[0]);
}
void indexSelectGradCpu(const Call<IndexSelectGrad>& call) {
  cpu::fill(call.out[0], 0);
  cpu::indexAdd(alongOf("the gradient of indexSelect or embedding", call), call.in[1], call.in[0], call.out[0],
                call.attrs.skip.value_or(-1));
}
void embeddingCpu(const Call<Embedding>& call) {
  cpu::indexSelect({"embedding", 0}, call.in[0], call.in[1], call.out[0]);
}
void oneHotCpu(const Call<OneHot>& call) { cpu::oneHot(call.in[0], call.out[0]); }
void maskedFillCpu(const Call<None>& call) {
  static const cpu::LoopSet where = cpu::loops<scalar::Where>();
  const std::array<View, 3> operands{call.in[1], call.in[2], call.in[0]};
  cpu::mapTiles(where, nullptr, computeType(call.out[0].dtype), operands, call.out[0]);
}
void nonzeroCpu(const Call<Nonzero>& call) { cpu::nonzero(call.in[0], call.attrs.flat, call.out[0]); }

const Implement<IndexAxis> gatherOnCpu("gather", DeviceType::Cpu, gatherCpu);
const Implement<IndexAxis> scatterOnCpu("scatter", DeviceType::Cpu, scatterCpu);
const Implement<IndexAxis> scatterAddOnCpu("scatterAdd", DeviceType::Cpu, scatterAddCpu);
const Implement<IndexAxis> indexSelectOnCpu("indexSelect", DeviceType::Cpu, indexSelectCpu);
const Implement<IndexAxis> indexAddOnCpu("indexAdd", DeviceType::Cpu, indexAddCpu);
const Implement<IndexSelectGrad> indexSelectGradOnCpu("indexSelectGrad", DeviceType::Cpu, indexSelectGradCpu);
const Implement<Embedding> embeddingOnCpu("embedding", DeviceType::Cpu, embeddingCpu);
const Implement<OneHot> oneHotOnCpu("oneHot", DeviceType::Cpu, oneHotCpu);
const Implement<None> maskedFillOnCpu("maskedFill", DeviceType::Cpu, maskedFillCpu);
const Implement<Nonzero> nonzeroOnCpu("nonzeroAt", DeviceType::Cpu, nonzeroCpu);

/// The resolved index of the padding row, if there is one.
std::optional<int64_t> paddingRow(const Vjp<Embedding>& v) {
  if (!v.attrs.paddingIndex) return std::nullopt;
  return *v.attrs.paddingIndex + (*v.attrs.paddingIndex < 0 ? v.in(0).shape()[0] : 0);
}

Tensors embeddingVjp(const Vjp<Embedding>& v) {
  const Shape& weight = v.in(0).shape();
  Tensor rows = reshape(v.grad(), {.shape = {v.in(1).size(), weight[1]}});
  Tensor index = reshape(v.in(1), {.shape = {-1}});
  return {indexSelectGrad(rows, index, {.axis = 0, .size = weight[0], .skip = paddingRow(v)}), Tensor()};
}

/// Slices of `grad` at `index`, 0 where the index is the one that was skipped.
Tensors selectGradVjp(const Vjp<IndexSelectGrad>& v) {
  Tensor rows = indexSelect(v.grad(), v.in(1), {.axis = v.attrs.axis});
  if (!v.attrs.skip) return {rows, Tensor()};
  int axis = resolveAxis("indexSelectGrad", v.attrs.axis, rows.rank());
  Shape shape = Dims::filled(rows.rank(), 1);
  shape[axis] = v.in(1).size();
  Tensor kept = cast(sub(v.in(1), number(double(*v.attrs.skip))), {.dtype = DType::Bool});
  return {mul(rows, reshape(kept, {.shape = shape.ints()})), Tensor()};
}

const Saves kSaveIndex{.inputs = {1}};
Field axisField() { return required<&IndexAxis::axis>("axis", "the axis; negative ones count from the end"); }

}  // namespace

const Op<IndexAxis> gather(
    {.name = "gather",
     .doc =
         "Elements of `x` along `axis`: for `axis` = 1, `result[i][j] = x[i][index[i][j]]`. The index (int32 or int64) "
         "has as many axes as `x` and, but for `axis`, sizes at most those of `x`; so is the result shaped. Indices "
         "count from 0; one out of range, negative too, is an ERR_INDEX.",
     .inputs = {"x", "index"},
     .attrs = {axisField()},
     .infer = inferGather,
     .vjp =
         [](const Vjp<IndexAxis>& v) {
           Tensor zeros = full(v.in(0).shape(), 0, v.grad().dtype());
           return Tensors{scatterAdd(zeros, v.in(1), v.grad(), v.attrs), Tensor()};
         },
     .saves = kSaveIndex});

const Op<IndexAxis> scatter(
    {.name = "scatter",
     .doc = "`x` with elements along `axis` replaced: for `axis` = 1, `result[i][index[i][j]] = source[i][j]`. Of "
            "several for one place the last wins. `source` broadcasts to the index.",
     .inputs = {"x", "index", "source"},
     .attrs = {axisField()},
     .infer = inferScatter,
     .vjp =
         [](const Vjp<IndexAxis>& v) {
           return Tensors{v.need(0) ? scatter(v.grad(), v.in(1), number(0), v.attrs) : Tensor(), Tensor(),
                          v.need(2) ? gather(v.grad(), v.in(1), v.attrs) : Tensor()};
         },
     .saves = kSaveIndex});

const Op<IndexAxis> scatterAdd(
    {.name = "scatterAdd",
     .doc = "`x` with values added along `axis`: for `axis` = 1, `result[i][index[i][j]] += source[i][j]`, in the "
            "order of j whatever the threads. `source` broadcasts to the index.",
     .inputs = {"x", "index", "source"},
     .attrs = {axisField()},
     .infer = inferScatter,
     .vjp =
         [](const Vjp<IndexAxis>& v) {
           return Tensors{v.grad(), Tensor(), v.need(2) ? gather(v.grad(), v.in(1), v.attrs) : Tensor()};
         },
     .saves = kSaveIndex});

const Op<IndexAxis> indexSelect(
    {.name = "indexSelect",
     .doc = "The slices of `x` along `axis` that `index` (one axis, int32 or int64) names, in its order. Indices count "
            "from 0; one out of range, negative too, is an ERR_INDEX.",
     .inputs = {"x", "index"},
     .attrs = {axisField()},
     .infer = inferSelect,
     .vjp =
         [](const Vjp<IndexAxis>& v) {
           int axis = resolveAxis("indexSelect", v.attrs.axis, v.in(0).rank());
           return Tensors{indexSelectGrad(v.grad(), v.in(1), {.axis = axis, .size = v.in(0).shape()[axis]}), Tensor()};
         },
     .saves = kSaveIndex,
     // What is not chosen is not read: a batch out of a large table is a small piece of work.
     .cost = [](const IndexAxis&, std::span<const View> in,
                std::span<const View> out) { return double(in[1].size()) + double(out[0].size()); }});

const Op<IndexAxis> indexAdd(
    {.name = "indexAdd",
     .doc =
         "`x` with the slices of `source` along `axis` added to those that `index` (one axis, int32 or int64) names, "
         "in its order.",
     .inputs = {"x", "index", "source"},
     .attrs = {axisField()},
     .infer = inferIndexAdd,
     .vjp =
         [](const Vjp<IndexAxis>& v) {
           return Tensors{v.grad(), Tensor(), v.need(2) ? indexSelect(v.grad(), v.in(1), v.attrs) : Tensor()};
         },
     .saves = kSaveIndex});

const Op<IndexSelectGrad> indexSelectGrad(
    {.name = "indexSelectGrad",
     .doc = "Zeros with `size` slices along `axis`, to which those of `x` are added where `index` says.",
     .inputs = {"x", "index"},
     .attrs = {required<&IndexSelectGrad::axis>("axis", "the axis"),
               required<&IndexSelectGrad::size>("size", "the size of the axis in the result"),
               field<&IndexSelectGrad::skip>("skip", "an index whose slices are left out")},
     .infer = inferSelectGrad,
     .vjp = selectGradVjp,
     .saves = kSaveIndex,
     .internal = true});

const Op<Embedding> embedding(
    {.name = "embedding",
     .doc = "Rows of `weight` [rows, size] for the int32 or int64 `index` of any shape; the result has that shape "
            "followed by the size. An index out of range is an ERR_INDEX.",
     .inputs = {"weight", "index"},
     .attrs = {field<&Embedding::paddingIndex>("paddingIndex",
                                               "a row that gets no gradient; negative ones count from the end")},
     .infer = inferEmbedding,
     .vjp = embeddingVjp,
     .saves = kSaveIndex,
     .method = false});

const Op<None> take({.name = "take",
                     .doc = "The elements of `x`, numbered from 0 in row-major order, that `index` (any shape, int32 "
                            "or int64) names. One out of "
                            "range, negative too, is an ERR_INDEX.",
                     .inputs = {"x", "index"},
                     .lower = [](const Args<None>& c) {
                       Tensor flat = reshape(c.in[0], {.shape = {-1}}), index = reshape(c.in[1], {.shape = {-1}});
                       return Tensors{
                           reshape(indexSelect(flat, index, {.axis = 0}), {.shape = c.in[1].shape().ints()})};
                     }});

const Op<None> maskedFill({.name = "maskedFill",
                           .doc = "`x` with `value` where the bool `mask` is true. Mask and value broadcast to `x`.",
                           .inputs = {"x", "mask", "value"},
                           .infer = inferMaskedFill,
                           .vjp =
                               [](const Vjp<None>& v) {
                                 Tensor rest = v.need(2) ? greater(number(1), v.in(1)) : Tensor();
                                 return Tensors{v.need(0) ? maskedFill(v.grad(), v.in(1), number(0)) : Tensor(),
                                                Tensor(), v.need(2) ? maskedFill(v.grad(), rest, number(0)) : Tensor()};
                               },
                           .saves = kSaveIndex,
                           .anyStrides = true});

const Op<OneHot> oneHot({.name = "oneHot",
                         .doc = "For each class number of `index` (int32 or int64) a row of `classes` zeros with a 1 "
                                "at its place, as a new last "
                                "axis.",
                         .inputs = {"index"},
                         .attrs = {required<&OneHot::classes>("classes", "the number of classes"),
                                   field<&OneHot::dtype>("dtype", "the dtype of the result")},
                         .infer =
                             [](const Args<OneHot>& c) {
                               requireIndex(c.op, c.in[0]);
                               require(c.attrs.classes >= 0, Code::Value, c.op, ": classes must be 0 or more; got ",
                                       c.attrs.classes);
                               Shape shape = c.in[0].shape();
                               shape.push(c.attrs.classes);
                               return Specs{{shape, c.attrs.dtype}};
                             },
                         .nonDifferentiable = true});

const Op<Nonzero> nonzeroAt(
    {.name = "nonzeroAt",
     .doc = "The places of the elements of `x` that are not 0, of which there are `count`: [count, axes] positions, or "
            "[count] row-major numbers if `flat`.",
     .inputs = {"x"},
     .attrs = {required<&Nonzero::count>("count", "how many elements are not 0"),
               field<&Nonzero::flat>("flat", "give row-major numbers")},
     .infer =
         [](const Args<Nonzero>& c) {
           Shape shape{c.attrs.count};
           if (!c.attrs.flat) shape.push(c.in[0].rank());
           return Specs{{shape, DType::Int64}};
         },
     .nonDifferentiable = true,
     .internal = true});

}  // namespace anneal::ops
