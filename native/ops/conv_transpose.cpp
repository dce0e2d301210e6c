#include <utility>

#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/conv.h"
#include "ops/join.h"
#include "ops/spatial.h"

namespace anneal::ops {
namespace {

/// A transposed convolution is the data gradient of the convolution that takes its result to its input.
template <int Rank>
Tensors lowerTranspose(const Args<ConvTranspose>& c) {
  const ConvTranspose& a = c.attrs;
  const Tensor &x = c.in[0], &w = c.in[1];
  checkConvOperands(c.op, Rank, x, w, c.in[2], w.rank() ? w.shape().back() * a.groups : 0);
  require(a.groups >= 1 && x.shape().back() == w.size(0) && w.size(0) % a.groups == 0, Code::Shape, c.op,
          ": the weight ", w.shape(), " in ", a.groups, " group(s) does not fit the ", x.shape().back(),
          " input channels");
  const Dims dilation = perAxis(c.op, "dilation", a.dilation, Rank, 1);
  const Dims extra = perAxis(c.op, "outputPadding", a.outputPadding, Rank, 0);
  cpu::ConvShape padding{.stride = perAxis(c.op, "stride", a.stride, Rank, 1)};
  const Dims& stride = padding.stride;
  setConvPadding(c.op, a.padding, Rank, padding);
  ConvGradient g{.stride = stride.ints(), .dilation = dilation.ints(), .groups = a.groups};
  Ints margins(2 * Rank + 4);  // of what no step of the kernel reaches
  for (int i = 0; i < Rank; ++i) {
    require(extra[i] < std::max(stride[i], dilation[i]), Code::Value, c.op,
            ": outputPadding must be smaller than stride or dilation; got ", a.outputPadding);
    // Extra output at the end is padding at the end that is not cut off.
    int64_t before = padding.before[i], after = padding.after[i] - extra[i];
    const int64_t whole = (x.size(i + 1) - 1) * stride[i] + dilation[i] * (w.size(i + 1) - 1) + 1;
    require(whole >= 1 && whole - before - after >= 1, Code::Shape, c.op, ": the padding ", a.padding,
            " leaves nothing of the result for the input ", x.shape());
    if (after <= -stride[i]) {
      margins[size_t(2 * i + 2)] = -std::exchange(before, 0);
      margins[size_t(2 * i + 3)] = -std::exchange(after, 0);
    }
    g.size.push_back(whole - before - after);
    g.padding.insert(g.padding.end(), {before, after});
  }
  if (margins == Ints(margins.size())) return {convData(x, w, c.in[2], g)};
  Tensor y = pad(convData(x, w, Tensor(), g), {.padding = margins});
  return {c.in[2] ? add(y, c.in[2]) : y};
}

template <int Rank>
Op<ConvTranspose> makeTranspose(const std::string& kernel) {
  return Op<ConvTranspose>(
      {.name = "convTranspose" + std::to_string(Rank) + "d",
       .doc = "The transposed convolution of `x` [batch, " + axisNames(Rank) + ", in] with `weight` [in, " + kernel +
              ", out / groups], plus `bias` [out] if given: [batch, " + axisNames(Rank) +
              "', out], where a size L becomes (L - 1) * stride - padding + dilation * (kernel - 1) + outputPadding + "
              "1 with the padding of both ends.",
       .inputs = {"x", "weight", "bias?"},
       .attrs = {field<&ConvTranspose::stride>(
                     "stride", "the step between the places where the kernel is put, for all axes or for each"),
                 field<&ConvTranspose::padding>(
                     "padding",
                     "what is cut off at both ends of all axes or of each, or pairs: before and after each axis"),
                 field<&ConvTranspose::outputPadding>("outputPadding", "what is added to the result's size at the end"),
                 field<&ConvTranspose::dilation>("dilation", "the distance between the kernel's elements"),
                 field<&ConvTranspose::groups>("groups",
                                               "the number of groups of channels that are convolved separately")},
       .lower = lowerTranspose<Rank>});
}

}  // namespace

const Op<ConvTranspose> convTranspose1d = makeTranspose<1>("kernel");
const Op<ConvTranspose> convTranspose2d = makeTranspose<2>("kernel height, kernel width");
const Op<ConvTranspose> convTranspose3d = makeTranspose<3>("kernel depth, kernel height, kernel width");

const ComputeIn precision(Precision::Low, {"convTranspose1d", "convTranspose2d", "convTranspose3d"});

}  // namespace anneal::ops
