// Gradients of batch, group and instance norm.
#include "columns.h"
#include "copy.h"
#include "norm_columns.cuh"

namespace anneal::cuda {
namespace {

/// What of a gradient comes back through a ReLU, of N channels.
template <class T, int N>
struct Mask {
  using C = Computed<T>;
  C weight[N], bias[N];
  bool on;

  __device__ __forceinline__ Mask(const Parameter& w, const Parameter& b, bool on, int64_t channel) : on(on) {
    w.load(channel, weight, C(1));
    b.load(channel, bias, C(0));
  }
  /// As what went there was computed.
  __device__ __forceinline__ C operator()(int i, C grad, C fromMean, C scale) const {
    if (!on) return grad;
    return cpu::convertTo<C>(cpu::convertTo<T>(fromMean * scale * weight[i] + bias[i])) > C(0) ? grad : C(0);
  }
};

/// The sums of a channel's gradients, and of those times the normalised x, in every piece: [segments, pieces,
/// channels].
template <class T, int N>
__global__ void __launch_bounds__(kColumnThreads, kLeastColumnBlocks<T>)
    sumsOfPieces(const T* g, const T* x, Columns c, Parameter mean, Parameter variance, Parameter weight,
                 Parameter bias, bool relu, Two<Computed<T>>* out) {
  using C = Computed<T>;
  const Stand at(c, N, Order::Last);
  C middle[N], scale[N];
  const bool inside = at.channel < c.channels;
  if (inside) loadStatistics<N>(c, at, mean, variance, middle, scale);
  const Mask<T, N> mask(weight, bias, relu, inside ? at.channel : 0);
  Two<C> sums[N] = {};
  eachRow<N, 2>(c, at, {g, x}, [&](int64_t, const Pack<T, N> (&packs)[2]) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const C grad = cpu::convertTo<C>(packs[0].v[i]), fromMean = cpu::convertTo<C>(packs[1].v[i]) - middle[i],
              back = mask(i, grad, fromMean, scale[i]);
      sums[i] = sums[i] + Two<C>{back, back * (fromMean * scale[i])};
    }
  });
  mergeRows<kColumnThreads>(sums, Add());
  if (threadIdx.y > 0 || !inside) return;
#pragma unroll
  for (int i = 0; i < N; ++i) out[(at.segment * c.pieces + at.piece) * c.channels + at.channel + i] = sums[i];
}

/// The sums over the pieces: `plain` and `along` [segments, channels].
template <class C>
__global__ void __launch_bounds__(kWarp* kWarp) mergeSums(const Two<C>* pieces, Columns c, C* plain, C* along) {
  mergePieces(pieces, c, Two<C>{0, 0}, Add(), [&](int64_t i, const Two<C>& sum) {
    plain[i] = sum.first;
    along[i] = sum.second;
  });
}

/// The averages of a group's weighted gradients, and of those times the normalised x: a warp for each.
template <class C>
__global__ void __launch_bounds__(kColumnThreads)
    averageGroups(const C* plain, const C* along, Parameter weight, Columns c, Two<C>* out) {
  const int64_t group = threadNumber() / kWarp;
  if (group >= c.segments * c.groups) return;
  const int64_t wide = c.perGroup.divisor, first = group % c.groups * wide, segment = group / c.groups * c.channels;
  Two<C> sum{0, 0};
  for (int64_t i = first + threadIdx.x % kWarp; i < first + wide; i += kWarp) {
    C w[1];
    weight.load(i, w, C(1));
    sum = sum + Two<C>{w[0] * plain[segment + i], w[0] * along[segment + i]};
  }
  sum = mergeWarp(sum, Add());
  const C count = C(c.rows) * C(wide);
  if (threadIdx.x % kWarp == 0) out[group] = {sum.first / count, sum.second / count};
}

template <class T, int N>
__global__ void __launch_bounds__(kColumnThreads)
    applyGradient(const T* g, const T* x, Columns c, Parameter mean, Parameter variance, Parameter weight,
                  Parameter bias, bool relu, const Two<Computed<T>>* averages, T* dx) {
  using C = Computed<T>;
  const Stand at(c, N, Order::First);
  if (at.channel >= c.channels) return;
  C middle[N], scale[N];
  Two<C> average[N];
  loadStatistics<N>(c, at, mean, variance, middle, scale);
  const Mask<T, N> mask(weight, bias, relu, at.channel);
#pragma unroll
  for (int i = 0; i < N; ++i)
    average[i] = averages[at.segment * c.groups + c.perGroup.quotient(uint32_t(at.channel + i))];
  constexpr int kAtOnce = N <= 4 ? 2 : 1;  // what is kept of 8 channels takes the registers
  eachRow<N, kAtOnce>(c, at, {g, x}, [&](int64_t offset, const Pack<T, N> (&packs)[2]) {
    Pack<T, N> to;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const C grad = cpu::convertTo<C>(packs[0].v[i]), fromMean = cpu::convertTo<C>(packs[1].v[i]) - middle[i],
              normal = fromMean * scale[i], back = mask(i, grad, fromMean, scale[i]);
      to.v[i] = cpu::convertTo<T>(scale[i] * (back * mask.weight[i] - average[i].first - normal * average[i].second));
    }
    storePack(dx + offset, to);
  });
}

void groupsGradientCuda(const Call<ops::NormalizeGroups>& call) {
  const View &g = call.in[0], &x = call.in[1], &dx = call.out[0], &dw = call.out[1], &db = call.out[2];
  const Columns columns = columnsOf(call.attrs, x.shape);
  if (x.size() == 0) return fill(dw, 0), fill(db, 0);
  const Parameter weight(call.in[2]), mean(call.in[3]), variance(call.in[4]), bias(call.in[5]);
  const bool relu = call.attrs.relu;
  visitColumns(columns, x, {g.memory, x.memory, dx.memory}, [&]<class T, int N>(TypeTag<T>, Run<N>, const Columns& c) {
    using C = Computed<T>;
    const int64_t all = c.segments * c.channels, groups = c.segments * c.groups;
    const Scratch pieces(size_t(all * c.pieces) * sizeof(Two<C>)), sums(size_t(2 * all) * sizeof(C)),
        averages(size_t(groups) * sizeof(Two<C>));
    // With one segment its sums are the results.
    C *plain = c.segments == 1 ? db.as<C>() : sums.as<C>(), *along = c.segments == 1 ? dw.as<C>() : sums.as<C>() + all;
    launch(sumsOfPieces<T, N>, c.blocks(), c.block, 0, stream(), g.as<T>(), x.as<T>(), c, mean, variance, weight, bias,
           relu, pieces.as<Two<C>>());
    launch(mergeSums<C>, pieceBlocks(c), pieceThreads(), 0, stream(), pieces.as<Two<C>>(), c, plain, along);
    launch(averageGroups<C>, blocksFor(groups * kWarp, kColumnThreads), kColumnThreads, 0, stream(), plain, along,
           weight, c, averages.as<Two<C>>());
    launch(applyGradient<T, N>, c.blocks(), c.block, 0, stream(), g.as<T>(), x.as<T>(), c, mean, variance, weight, bias,
           relu, averages.as<Two<C>>(), dx.as<T>());
    if (c.segments == 1) return;
    sumBothPieces(along, plain, c.segments, c.channels, dw.as<C>(), db.as<C>());
  });
}

const Implement<ops::NormalizeGroups> groupsGradientOnCuda("normalizeGroupsGradient", DeviceType::Cuda,
                                                           groupsGradientCuda);

}  // namespace
}  // namespace anneal::cuda
