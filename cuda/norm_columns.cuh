#pragma once
// What kernels of channels share: batch, group and instance norm and their gradients. x is seen as
// [segments, rows, channels]; statistics are over the rows and a group's channels of a segment.
#include <algorithm>
#include <cmath>

#include "index.h"
#include "ops/norm.h"
#include "rows.cuh"

namespace anneal::cuda {

constexpr int kColumnThreads = 256;
/// Blocks that a multiprocessor is to hold at least: left to itself the compiler spills registers of doubles.
template <class T>
constexpr int kLeastColumnBlocks = std::is_same_v<T, double> ? 4 : 0;
constexpr int kColumnBlocks = 8;   // of a processor
constexpr int64_t kLeastRows = 8;  // of a thread

/// How threads share x: a block has neighbouring channels along x and rows along y; blocks have tiles of channels, then
/// pieces of a segment's rows, then segments.
struct Columns {
  int64_t segments = 1, rows = 0, channels = 0, groups = 1;
  double eps = 0;
  Divider perGroup;
  dim3 block;
  unsigned tiles = 1, pieces = 1;
  int64_t piece = 0;

  unsigned blocks() const { return unsigned(segments * pieces * tiles); }
};

/// Gives each thread `N` neighbouring channels.
inline void share(Columns& c, int N) {
  const int64_t runs = (c.channels + N - 1) / N;
  unsigned across = 1;
  while (across < kWarp && across < runs) across *= 2;
  c.block = dim3(across, kColumnThreads / across);
  c.tiles = blocksFor(runs, across);
  const int64_t others = c.tiles * c.segments, wanted = kColumnBlocks * current().multiprocessors(),
                least = kLeastRows * int64_t(c.block.y);
  c.pieces = unsigned(std::clamp<int64_t>(wanted / std::max<int64_t>(1, others), 1,
                                          std::max<int64_t>(1, (c.rows + least - 1) / least)));
  c.piece = (c.rows + c.pieces - 1) / c.pieces;
}

/// Where a thread stands. What was written or read last is likeliest to be in the L2 cache: a first pass over data
/// begins at the end (`Last`), the second at the beginning.
enum class Order { First, Last };
struct Stand {
  int64_t channel, segment, piece, begin, end;
  __device__ Stand(const Columns& c, int N, Order order) {
    const unsigned block = order == Order::First ? blockIdx.x : gridDim.x - 1 - blockIdx.x, rest = block / c.tiles;
    channel = int64_t(block % c.tiles * blockDim.x + threadIdx.x) * N;
    segment = rest / c.pieces;
    piece = rest % c.pieces;
    begin = piece * c.piece;
    end = begin + c.piece < c.rows ? begin + c.piece : c.rows;
  }
};

/// Calls use(offset, packs) for the rows of a thread, in order: packs[s] is what N channels of from[s] hold there,
/// unless that is null. The loads of `AtOnce` rows are under way together.
template <int N, int AtOnce, class T, int Sources, class F>
__device__ __forceinline__ void eachRow(const Columns& c, const Stand& at, const T* const (&from)[Sources], F&& use) {
  using Values = Pack<T, N>;
  const int64_t base = at.segment * c.rows * c.channels + at.channel, step = blockDim.y;
  if (at.channel >= c.channels) return;
  const auto load = [&](int64_t offset, Values (&to)[Sources]) {
#pragma unroll
    for (int s = 0; s < Sources; ++s)
      if (from[s]) to[s] = *reinterpret_cast<const Values*>(from[s] + offset);
  };
  int64_t row = at.begin + threadIdx.y;
#pragma unroll 1
  for (; row + (AtOnce - 1) * step < at.end; row += AtOnce * step) {
    Values packs[AtOnce][Sources];
#pragma unroll
    for (int k = 0; k < AtOnce; ++k) load(base + (row + k * step) * c.channels, packs[k]);
    asm volatile("" ::: "memory");  // the compiler would put off loads to where they are used
#pragma unroll
    for (int k = 0; k < AtOnce; ++k) use(base + (row + k * step) * c.channels, packs[k]);
  }
#pragma unroll 1
  for (; row < at.end; row += step) {
    Values packs[Sources];
    load(base + row * c.channels, packs);
    use(base + row * c.channels, packs);
  }
}

/// `merge` over the rows of a block's threads, N states at once, in the threads of the first row.
template <int Threads, int N, class S, class M>
__device__ __forceinline__ void mergeRows(S (&states)[N], M merge) {
  __shared__ S shared[N][Threads];
  const unsigned place = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
  for (int i = 0; i < N; ++i) shared[i][place] = states[i];
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y >= half) continue;
#pragma unroll
    for (int i = 0; i < N; ++i) shared[i][place] = states[i] = merge(states[i], shared[i][place + half * blockDim.x]);
  }
}

/// The statistics of N channels of a segment, and 1 / standard deviation.
template <int N, class C>
__device__ __forceinline__ void loadStatistics(const Columns& c, const Stand& at, const Parameter& mean,
                                               const Parameter& variance, C (&middle)[N], C (&scale)[N]) {
  if (c.perGroup.divisor == 1) {
    const int64_t first = at.segment * c.channels + at.channel;
    mean.load(first, middle, C(0));
    variance.load(first, scale, C(1));
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int64_t group = at.segment * c.groups + c.perGroup.quotient(uint32_t(at.channel + i));
      C m[1], v[1];
      mean.load(group, m, C(0));
      variance.load(group, v, C(1));
      middle[i] = m[0];
      scale[i] = v[0];
    }
  }
#pragma unroll
  for (int i = 0; i < N; ++i) scale[i] = C(1) / std::sqrt(scale[i] + C(c.eps));
}

/// What a segment's pieces, [segments, pieces, channels], come to, in the first row of threads of a block for each 32
/// channels (`pieceBlocks`, `pieceThreads`): done(segment * channels + channel, state).
template <class S, class M, class F>
__device__ __forceinline__ void mergePieces(const S* pieces, const Columns& c, S none, M merge, F&& done) {
  constexpr int AtOnce = 4;  // whose loads are under way together
  const unsigned across = unsigned((c.channels + kWarp - 1) / kWarp), segment = blockIdx.x / across;
  const int64_t channel = int64_t(blockIdx.x % across) * kWarp + threadIdx.x;
  S state[1] = {none};
  if (channel < c.channels) {
    const S* from = pieces + int64_t(segment) * c.pieces * c.channels + channel;
    for (unsigned first = threadIdx.y; first < c.pieces; first += AtOnce * kWarp) {
      S next[AtOnce];
#pragma unroll
      for (int k = 0; k < AtOnce; ++k) {
        const unsigned i = first + unsigned(k * kWarp);
        next[k] = from[int64_t(i < c.pieces ? i : c.pieces - 1) * c.channels];
      }
#pragma unroll
      for (int k = 0; k < AtOnce; ++k)
        if (first + unsigned(k * kWarp) < c.pieces) state[0] = merge(state[0], next[k]);
    }
  }
  mergeRows<kWarp * kWarp>(state, merge);
  if (threadIdx.y == 0 && channel < c.channels) done(int64_t(segment) * c.channels + channel, state[0]);
}
inline unsigned pieceBlocks(const Columns& c) { return unsigned(c.segments) * blocksFor(c.channels, kWarp); }
inline dim3 pieceThreads() { return dim3(kWarp, kWarp); }

inline Columns columnsOf(const Shape& x, int64_t groups, double eps, bool wholeBatch) {
  Columns c;
  c.segments = wholeBatch ? 1 : x[0];
  c.channels = x.back();
  c.rows = c.segments ? x.slice(0, x.rank() - 1).product() / c.segments : 0;
  c.groups = groups;
  c.eps = eps;
  if (groups > 0 && c.channels > 0) c.perGroup = Divider(uint32_t(c.channels / groups));
  return c;
}
inline Columns columnsOf(const ops::NormalizeGroups& a, const Shape& x) {
  return columnsOf(x, a.groups, a.eps, a.wholeBatch);
}

/// Calls f(TypeTag<T>, N, columns) with the type of x and the number of channels that a thread has.
template <class F>
void visitColumns(const Columns& given, const View& x, std::initializer_list<const void*> memory, F&& f) {
  visitFloat(x.dtype, [&]<class T>(TypeTag<T> tag) {
    Columns c = given;
    if constexpr (!std::is_same_v<T, double>) {
      constexpr int N = kPack<T>;
      if (c.channels % N == 0 && std::all_of(memory.begin(), memory.end(), aligned)) {
        share(c, N);
        return f(tag, Run<N>{}, c);
      }
    }
    share(c, 1);
    f(tag, Run<1>{}, c);
  });
}

}  // namespace anneal::cuda
