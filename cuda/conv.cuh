#pragma once
// A convolution and its gradients as matrix products whose operands are read from where they lie.
#include <algorithm>

#include "box.cuh"
#include "conv.h"
#include "value.h"

namespace anneal::cuda {

/// ConvShape as kernels want it, over three spatial axes.
struct ConvSizes {
  Box in, out, kernel;
  int stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, before[3] = {0, 0, 0};
  Divider strides[3], ins, outs;  // by the stride, and by the channels of a group
  int batch, groups, groupIn, groupOut;

  explicit ConvSizes(const ConvShape& s)
      : in(s.in),
        out(s.out),
        kernel(s.kernel),
        ins(uint32_t(std::max<int64_t>(1, s.groupIn()))),
        outs(uint32_t(std::max<int64_t>(1, s.groupOut()))),
        batch(int(s.batch)),
        groups(int(s.groups)),
        groupIn(int(s.groupIn())),
        groupOut(int(s.groupOut())) {
    for (int i = 0; i < s.rank(); ++i) {
      const int to = 3 - s.rank() + i;
      stride[to] = int(s.stride[i]), dilation[to] = int(s.dilation[i]), before[to] = int(s.before[i]);
    }
    for (int i = 0; i < 3; ++i) strides[i] = Divider(uint32_t(stride[i]));
  }
  __host__ __device__ int inChannels() const { return groups * groupIn; }
  __host__ __device__ int outChannels() const { return groups * groupOut; }
  /// Where the first tap of output position `o` reads.
  __device__ void origin(int (&at)[3]) const {
    for (int i = 0; i < 3; ++i) at[i] = at[i] * stride[i] - before[i];
  }
  /// The distance of a tap from the first.
  __device__ void reach(int (&tap)[3]) const {
    for (int i = 0; i < 3; ++i) tap[i] *= dilation[i];
  }
  /// The output position along an axis whose first tap is at `from` (with the padding counted); -1 for none.
  __device__ int source(int axis, int from) const {
    if (from < 0) return -1;
    const int at = int(strides[axis].quotient(uint32_t(from)));
    return at * stride[axis] == from && at < out.size[axis] ? at : -1;
  }
};

template <class T>
using ConvSum = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Where results go, and what is done to them before.
template <class T>
struct ConvStore {
  using C = ConvSum<T>;
  T* to;
  const T* bias = nullptr;
  const T* residual = nullptr;
  bool relu = false;

  __device__ T after(int channel, C value, T added) const {
    if (bias) value += cpu::convertTo<C>(bias[channel]);
    if (residual) value += cpu::convertTo<C>(added);
    if (relu && value < 0) value = 0;
    return cpu::convertTo<T>(value);
  }
  __device__ void put(int64_t at, int channel, C value) const {
    to[at] = after(channel, value, residual ? residual[at] : T());
  }
};

// Each product has rows, columns and a depth for every group: `rowA` and `rowB` say once what a row of the left side
// and a column of the right side are, `depthA` and `depthB` what a number along the sum is. Along which of both the
// memory of a side runs is said by kDeepA and kDeepB: neighbouring threads go along it.

/// [pixels of y, channels out] = patches of x by filters.
template <class T>
struct ConvForwardProduct {
  using C = ConvSum<T>;
  static constexpr bool kDeepA = true, kDeepB = true;
  ConvSizes s;
  const T *x, *weight;
  ConvStore<T> to;

  struct RowA {
    const T* image;
    int at[3];
  };
  struct DepthA {
    int tap[3], channel;
  };
  __host__ __device__ int64_t rows() const { return int64_t(s.batch) * s.out.count; }
  __host__ __device__ int columns() const { return s.groupOut; }
  __device__ int64_t begin(int) const { return 0; }
  __device__ int64_t end(int) const { return s.kernel.count * s.groupIn; }

  __device__ RowA rowA(int64_t m, int group) const {
    if (m >= rows()) return {nullptr, {0, 0, 0}};
    const uint32_t n = s.out.all.quotient(uint32_t(m));
    RowA row{x + int64_t(n) * s.in.count * s.inChannels() + group * s.groupIn, {}};
    s.out.place(uint32_t(m) - n * s.out.all.divisor, row.at);
    s.origin(row.at);
    return row;
  }
  __device__ DepthA depthA(int64_t k) const {
    const uint32_t tap = s.ins.quotient(uint32_t(k));
    DepthA d{{}, int(uint32_t(k) - tap * s.ins.divisor)};
    s.kernel.place(tap, d.tap);
    s.reach(d.tap);
    return d;
  }
  __device__ C a(const RowA& row, const DepthA& depth) const {
    const int d = row.at[0] + depth.tap[0], h = row.at[1] + depth.tap[1], w = row.at[2] + depth.tap[2];
    if (!row.image || !s.in.holds(d, h, w)) return 0;
    return cpu::convertTo<C>(row.image[s.in.number(d, h, w) * s.inChannels() + depth.channel]);
  }
  __device__ const T* rowB(int n, int group) const {
    return n < s.groupOut ? weight + int64_t(group * s.groupOut + n) * s.kernel.count * s.groupIn : nullptr;
  }
  __device__ int64_t depthB(int64_t k) const { return k; }
  __device__ C b(const T* filter, int64_t k) const { return filter ? cpu::convertTo<C>(filter[k]) : C(0); }
  __device__ void store(int64_t m, int n, int group, int, C value) const {
    const int channel = group * s.groupOut + n;
    to.put(m * s.outChannels() + channel, channel, value);
  }
};

/// [pixels of x, channels in] = the gradients of the outputs that read a pixel by filters.
template <class T>
struct ConvDataProduct {
  using C = ConvSum<T>;
  static constexpr bool kDeepA = true, kDeepB = false;
  ConvSizes s;
  const T *grad, *weight;
  ConvStore<T> to;

  struct RowA {
    const T* image;
    int at[3];
  };
  struct DepthA {
    int tap[3], channel;
  };
  __host__ __device__ int64_t rows() const { return int64_t(s.batch) * s.in.count; }
  __host__ __device__ int columns() const { return s.groupIn; }
  __device__ int64_t begin(int) const { return 0; }
  __device__ int64_t end(int) const { return s.kernel.count * s.groupOut; }

  __device__ RowA rowA(int64_t m, int group) const {
    if (m >= rows()) return {nullptr, {0, 0, 0}};
    const uint32_t n = s.in.all.quotient(uint32_t(m));
    RowA row{grad + int64_t(n) * s.out.count * s.outChannels() + group * s.groupOut, {}};
    s.in.place(uint32_t(m) - n * s.in.all.divisor, row.at);
    for (int i = 0; i < 3; ++i) row.at[i] += s.before[i];
    return row;
  }
  __device__ DepthA depthA(int64_t k) const {
    const uint32_t tap = s.outs.quotient(uint32_t(k));
    DepthA d{{}, int(uint32_t(k) - tap * s.outs.divisor)};
    s.kernel.place(tap, d.tap);
    s.reach(d.tap);
    return d;
  }
  __device__ C a(const RowA& row, const DepthA& depth) const {
    const int d = s.source(0, row.at[0] - depth.tap[0]), h = s.source(1, row.at[1] - depth.tap[1]),
              w = s.source(2, row.at[2] - depth.tap[2]);
    if (!row.image || (d | h | w) < 0) return 0;
    return cpu::convertTo<C>(row.image[s.out.number(d, h, w) * s.outChannels() + depth.channel]);
  }
  __device__ const T* rowB(int n, int group) const {
    return n < s.groupIn ? weight + int64_t(group) * s.groupOut * s.kernel.count * s.groupIn + n : nullptr;
  }
  __device__ int64_t depthB(int64_t k) const {
    const uint32_t tap = s.outs.quotient(uint32_t(k)), channel = uint32_t(k) - tap * s.outs.divisor;
    return (int64_t(channel) * s.kernel.count + tap) * s.groupIn;
  }
  __device__ C b(const T* first, int64_t at) const { return first ? cpu::convertTo<C>(first[at]) : C(0); }
  __device__ void store(int64_t m, int n, int group, int, C value) const {
    const int channel = group * s.groupIn + n;
    to.put(m * s.inChannels() + channel, channel, value);
  }
};

/// [channels out, taps and channels in] = gradients by patches of x, summed over the pixels of y in parts.
template <class T>
struct ConvWeightsProduct {
  using C = ConvSum<T>;
  static constexpr bool kDeepA = false, kDeepB = false;
  ConvSizes s;
  const T *x, *grad;
  C* parts;  // [parts, weight]
  int64_t length;

  struct RowB {
    const T* from;
    int tap[3];
  };
  struct DepthB {
    int64_t image;
    int at[3];
  };
  __host__ __device__ int64_t rows() const { return s.groupOut; }
  __host__ __device__ int columns() const { return s.kernel.count * s.groupIn; }
  __host__ __device__ int64_t pixels() const { return int64_t(s.batch) * s.out.count; }
  __device__ int64_t begin(int part) const { return part * length; }
  __device__ int64_t end(int part) const { return std::min<int64_t>(pixels(), (part + 1) * length); }

  __device__ const T* rowA(int64_t m, int group) const {
    return m < s.groupOut ? grad + group * s.groupOut + m : nullptr;
  }
  __device__ int64_t depthA(int64_t k) const { return k * s.outChannels(); }
  __device__ C a(const T* channel, int64_t at) const { return channel ? cpu::convertTo<C>(channel[at]) : C(0); }
  __device__ RowB rowB(int n, int group) const {
    if (n >= columns()) return {nullptr, {0, 0, 0}};
    const uint32_t tap = s.ins.quotient(uint32_t(n));
    RowB row{x + group * s.groupIn + (uint32_t(n) - tap * s.ins.divisor), {}};
    s.kernel.place(tap, row.tap);
    s.reach(row.tap);
    return row;
  }
  __device__ DepthB depthB(int64_t k) const {
    const uint32_t n = s.out.all.quotient(uint32_t(k));
    DepthB d{int64_t(n) * s.in.count, {}};
    s.out.place(uint32_t(k) - n * s.out.all.divisor, d.at);
    s.origin(d.at);
    return d;
  }
  __device__ C b(const RowB& row, const DepthB& depth) const {
    const int d = row.tap[0] + depth.at[0], h = row.tap[1] + depth.at[1], w = row.tap[2] + depth.at[2];
    if (!row.from || !s.in.holds(d, h, w)) return 0;
    return cpu::convertTo<C>(row.from[(depth.image + s.in.number(d, h, w)) * s.inChannels()]);
  }
  __device__ void store(int64_t m, int n, int group, int part, C value) const {
    const int64_t filter = int64_t(part) * s.outChannels() + group * s.groupOut + m;
    parts[filter * columns() + n] = value;
  }
};

}  // namespace anneal::cuda
