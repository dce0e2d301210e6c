// Normalisation of channels: batch, group and instance norm.
#include "norm_columns.cuh"

#include <limits>

namespace anneal::cuda {
namespace {

/// Mean and sum of squared deviations, merged after Chan, Golub and LeVeque 1983.
template <class C>
struct Moments {
  C n, mean, squares;
};
struct MergeMoments {
  template <class C>
  __device__ Moments<C> operator()(Moments<C> a, Moments<C> b) const {
    if (b.n == 0) return a;
    if (a.n == 0) return b;
    const C n = a.n + b.n, apart = b.mean - a.mean, part = b.n / n;
    return {n, a.mean + apart * part, a.squares + b.squares + apart * apart * (a.n * part)};
  }
};

/// The moments of every channel in every piece: [segments, pieces, channels]. Sums are relative to a thread's first
/// value, which is one of what they describe, so that little is lost when the mean's square is taken away.
template <class T, int N>
__global__ void __launch_bounds__(kColumnThreads) momentsOfPieces(const T* x, Columns c, Moments<Computed<T>>* out) {
  using C = Computed<T>;
  const Stand at(c, N, Order::Last);
  C first[N] = {}, sum[N] = {}, squares[N] = {}, n = 0;
  eachRow<N, 4>(c, at, {x}, [&](int64_t, const Pack<T, N> (&packs)[1]) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const C v = cpu::convertTo<C>(packs[0].v[i]);
      if (n == 0) first[i] = v;
      const C from = v - first[i];
      sum[i] += from;
      squares[i] += from * from;
    }
    n += 1;
  });
  Moments<C> moments[N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const C less = squares[i] - sum[i] * sum[i] / n;
    moments[i] = n > 0 ? Moments<C>{n, first[i] + sum[i] / n, less < 0 ? C(0) : less} : Moments<C>{0, 0, 0};
  }
  mergeRows<kColumnThreads>(moments, MergeMoments());
  if (threadIdx.y > 0 || at.channel >= c.channels) return;
#pragma unroll
  for (int i = 0; i < N; ++i) out[(at.segment * c.pieces + at.piece) * c.channels + at.channel + i] = moments[i];
}

template <class C>
__device__ __forceinline__ void deliver(const Moments<C>& m, int64_t group, C* mean, C* variance) {
  mean[group] = m.n > 0 ? m.mean : std::numeric_limits<C>::quiet_NaN();
  variance[group] = m.squares / m.n;
}

/// The moments of every channel: the results where groups have one each, or else `out` [segments, channels].
template <class C>
__global__ void __launch_bounds__(kWarp* kWarp)
    mergeMoments(const Moments<C>* pieces, Columns c, Moments<C>* out, C* mean, C* variance) {
  mergePieces(pieces, c, Moments<C>{0, 0, 0}, MergeMoments(), [&](int64_t i, const Moments<C>& m) {
    if (out) out[i] = m;
    else deliver(m, i, mean, variance);
  });
}

/// A warp for each group of each segment.
template <class C>
__global__ void __launch_bounds__(kColumnThreads, 4)
    mergeChannels(const Moments<C>* channels, Columns c, C* mean, C* variance) {
  const int64_t group = threadNumber() / kWarp;
  if (group >= c.segments * c.groups) return;
  const unsigned wide = c.perGroup.divisor;
  const Moments<C>* from = channels + group * wide;  // groups lie in the order of their channels
  Moments<C> m{0, 0, 0};
  for (unsigned i = threadIdx.x % kWarp; i < wide; i += kWarp) m = MergeMoments()(m, from[i]);
  m = mergeWarp(m, MergeMoments());
  if (threadIdx.x % kWarp == 0) deliver(m, group, mean, variance);
}

/// What is done with what was normalised: see cpu::AfterColumns.
template <class T>
__device__ __forceinline__ Computed<T> finish(Computed<T> v, bool adds, T residual, bool relu) {
  using C = Computed<T>;
  if (adds) v = cpu::convertTo<C>(cpu::convertTo<T>(v)) + cpu::convertTo<C>(residual);
  return relu && v < C(0) ? C(0) : v;
}

template <class T, int N>
__global__ void __launch_bounds__(kColumnThreads, kLeastColumnBlocks<T>)
    applyStatistics(const T* x, Columns c, Parameter mean, Parameter variance, Parameter weight, Parameter bias,
                    const T* residual, bool relu, T* y) {
  using C = Computed<T>;
  const Stand at(c, N, Order::First);
  if (at.channel >= c.channels) return;
  C middle[N], scale[N], w[N], b[N];
  loadStatistics<N>(c, at, mean, variance, middle, scale);
  weight.load(at.channel, w, C(1));
  bias.load(at.channel, b, C(0));
  const bool adds = residual != nullptr;
  eachRow<N, 2>(c, at, {x, residual}, [&](int64_t offset, const Pack<T, N> (&packs)[2]) {
    Pack<T, N> to;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const C v = (cpu::convertTo<C>(packs[0].v[i]) - middle[i]) * scale[i] * w[i] + b[i];
      to.v[i] = cpu::convertTo<T>(finish<T>(v, adds, packs[1].v[i], relu));
    }
    storePack(y + offset, to);
  });
}

void apply(const Columns& columns, const View& x, const View& mean, const View& variance, const View& weight,
           const View& bias, const View& y, const View& residual, bool relu) {
  if (y.size() == 0) return;
  const void* added = residual.defined ? residual.memory : nullptr;
  visitColumns(columns, x, {x.memory, y.memory, added}, [&]<class T, int N>(TypeTag<T>, Run<N>, const Columns& c) {
    launch(applyStatistics<T, N>, c.blocks(), c.block, 0, stream(), x.as<T>(), c, Parameter(mean), Parameter(variance),
           Parameter(weight), Parameter(bias), static_cast<const T*>(added), relu, y.as<T>());
  });
}

void normalizeGroupsCuda(const Call<ops::NormalizeGroups>& call) {
  const View &x = call.in[0], &mean = call.out[1], &variance = call.out[2];
  const Columns columns = columnsOf(call.attrs, x.shape);
  if (mean.size() == 0) return;
  visitColumns(columns, x, {x.memory}, [&]<class T, int N>(TypeTag<T>, Run<N>, const Columns& c) {
    using C = Computed<T>;
    const int64_t all = c.segments * c.channels;
    const bool grouped = c.perGroup.divisor > 1;
    const Scratch pieces(size_t(all * c.pieces) * sizeof(Moments<C>)),
        channels(grouped ? size_t(all) * sizeof(Moments<C>) : 1);
    Moments<C>* own = grouped ? channels.as<Moments<C>>() : nullptr;
    launch(momentsOfPieces<T, N>, c.blocks(), c.block, 0, stream(), x.as<T>(), c, pieces.as<Moments<C>>());
    launch(mergeMoments<C>, pieceBlocks(c), pieceThreads(), 0, stream(), pieces.as<Moments<C>>(), c, own, mean.as<C>(),
           variance.as<C>());
    if (grouped)
      launch(mergeChannels<C>, blocksFor(mean.size() * kWarp, kColumnThreads), kColumnThreads, 0, stream(), own, c,
             mean.as<C>(), variance.as<C>());
  });
  apply(columns, x, mean, variance, call.in[1], call.in[2], call.out[0], call.in[3], call.attrs.relu);
}

void batchNormCuda(const Call<ops::BatchNorm>& c) {
  const Columns columns = columnsOf(c.in[0].shape, c.in[0].shape.back(), c.attrs.eps, true);
  apply(columns, c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], c.out[0], {.defined = false}, false);
}

const Implement<ops::NormalizeGroups> groupsOnCuda("normalizeGroups", DeviceType::Cuda, normalizeGroupsCuda);
const Implement<ops::BatchNorm> batchNormOnCuda("batchNorm", DeviceType::Cuda, batchNormCuda);

}  // namespace
}  // namespace anneal::cuda
