// Writing and adding through an index: scatter, scatterAdd, indexAdd, indexSelectGrad. Where several values meet in one
// place, they do so in the order of the index. Indices are sorted with where they were, so that those of a place lie
// side by side: the work grows with the index, not with the result.
#include <bit>

#include "indexing.cuh"
#include "rows.cuh"
#include "sort.cuh"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPiece = 32;  // sorted indices that a thread adds up one after the other

const FaultSite inScatter = outOfRange("scatter"), inScatterAdd = outOfRange("scatterAdd"),
                inAdd = outOfRange("indexAdd"), inSelectGrad = outOfRange("the gradient of indexSelect or embedding");

/// What elements of type T are added up in; integers wrap around.
template <class T>
using Sum = std::conditional_t<std::is_same_v<T, bool> || std::is_integral_v<T>, uint64_t, Computed<T>>;

/// What goes to places of an axis from an index of all slices: slices of `inner` elements. A row is the whole index, a
/// column N neighbours of one of the outer slices.
template <int N>
struct Slices {
  Index index;
  int64_t count, inner, outer, skip;
  __host__ __device__ int64_t rows() const { return 1; }
  __host__ __device__ int64_t columns() const { return outer * (inner / N); }
  __host__ __device__ int64_t length() const { return count; }
  __device__ int64_t place(int64_t, int64_t j) const {
    const int64_t at = index.at(j);
    return at == skip ? -1 : at;
  }
  __device__ int64_t from(int64_t, int64_t column, int64_t j) const {
    const int64_t across = inner / N;
    return (column / across * count + j) * inner + column % across * N;
  }
  __device__ int64_t to(int64_t, int64_t column, int64_t place) const {
    const int64_t across = inner / N;
    return (column / across * index.size + place) * inner + column % across * N;
  }
};

/// What goes to places of an axis from an index of single elements: a row is a lane of the index.
struct LaneRows {
  Index index;
  Lanes lanes;
  __host__ __device__ int64_t rows() const { return lanes.count; }
  __host__ __device__ int64_t columns() const { return 1; }
  __host__ __device__ int64_t length() const { return lanes.length; }
  __device__ int64_t at(int64_t row, int which) const {
    int64_t at[2];
    lanes.walk.place(uint32_t(row), at);
    return at[which];
  }
  __device__ int64_t place(int64_t row, int64_t j) const { return index.at(from(row, 0, j)); }
  __device__ int64_t from(int64_t row, int64_t, int64_t j) const { return at(row, 0) + j * lanes.indexStep; }
  __device__ int64_t to(int64_t row, int64_t, int64_t place) const { return at(row, 1) + place * lanes.step; }
};

/// Places as keys; those that are left out come last.
template <class L>
struct PlaceKeys {
  using Key = uint32_t;
  L layout;
  uint32_t out;
  __device__ void load(int64_t row, int64_t i, uint32_t& key, uint32_t& place) const {
    const int64_t at = layout.place(row, i);
    key = at < 0 ? out : uint32_t(at);
    place = uint32_t(i);
  }
};

/// The sorted indices of all rows, in pieces.
struct Sorted {
  Items<uint32_t> items;
  uint32_t out;
  int64_t pieces;  // of a row
  __device__ uint32_t key(int64_t row, int64_t i) const { return items.keys[row * items.n + i]; }
  __device__ bool same(int64_t row, int64_t i, int64_t k) const {
    return i >= 0 && k < items.n && key(row, i) == key(row, k);
  }
};

/// A thread's work: N neighbours in a column, over a piece of a row.
struct Part {
  int64_t row, piece, column, begin, end;
  bool any;
  template <class L>
  __device__ Part(const L& layout, const Sorted& s) {
    const int64_t columns = layout.columns(), number = threadNumber();
    column = number % columns;
    piece = number / columns % s.pieces;
    row = number / columns / s.pieces;
    begin = piece * kPiece;
    end = std::min(begin + kPiece, s.items.n);
    any = row < layout.rows();
  }
  /// Where the sums of this part lie that others go on with: those of its first place, and of its last.
  template <class L>
  __device__ int64_t share(const L& layout, const Sorted& s, int64_t ahead, int which) const {
    return (((row * s.pieces + piece + ahead) * 2 + which) * layout.columns() + column);
  }
};

template <class T, int N>
struct alignas(N > 1 ? 16 : alignof(Sum<T>)) Sums {
  Sum<T> v[N] = {};
  /// Adds N neighbours in memory.
  __device__ void addFrom(const T* from) {
    const auto x = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] += cpu::convertTo<Sum<T>>(x.v[i]);
  }
  __device__ void add(const Sums& o) {
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] += o.v[i];
  }
  __device__ void addTo(T* to) const {
    auto x = *reinterpret_cast<const Pack<T, N>*>(to);
#pragma unroll
    for (int i = 0; i < N; ++i) x.v[i] = cpu::convertTo<T>(Sum<T>(cpu::convertTo<Sum<T>>(x.v[i]) + v[i]));
    storePack(to, x);
  }
};

/// Adds up what goes to each place within a piece. Sums of places that other pieces have a part in are left in
/// `shares`.
template <class T, int N, class L>
__global__ void __launch_bounds__(kThreads) addPieces(L layout, Sorted s, const T* source, T* out, Sums<T, N>* shares) {
  const Part part(layout, s);
  if (!part.any) return;
  const auto leave = [&](int64_t first, int64_t last, const Sums<T, N>& sum) {
    const bool begun = s.same(part.row, first - 1, first), goesOn = s.same(part.row, last, last + 1);
    if (begun || goesOn) shares[part.share(layout, s, 0, begun ? 0 : 1)] = sum;
    else sum.addTo(out + layout.to(part.row, part.column, s.key(part.row, first)));
  };
  Sums<T, N> sum;
  int64_t first = part.begin;
  for (int64_t i = part.begin; i < part.end; ++i) {
    const uint32_t key = s.key(part.row, i);
    if (i > first && key != s.key(part.row, first)) {
      leave(first, i - 1, sum);
      first = i;
      sum = {};
    }
    if (key == s.out) return;
    const int64_t j = s.items.places[part.row * s.items.n + i];
    sum.addFrom(source + layout.from(part.row, part.column, j));
  }
  leave(first, part.end - 1, sum);
}

/// Adds the sums of a place over pieces, in their order: by the thread of the first.
template <class T, int N, class L>
__global__ void __launch_bounds__(kThreads) addShares(L layout, Sorted s, T* out, const Sums<T, N>* shares) {
  const Part part(layout, s);
  if (!part.any) return;
  const uint32_t key = s.key(part.row, part.end - 1);
  if (key == s.out || !s.same(part.row, part.end - 1, part.end) || s.same(part.row, part.begin - 1, part.end - 1))
    return;
  Sums<T, N> sum = shares[part.share(layout, s, 0, 1)];
  for (int64_t ahead = 1; s.same(part.row, part.end - 1, part.begin + ahead * kPiece); ++ahead)
    sum.add(shares[part.share(layout, s, ahead, 0)]);
  sum.addTo(out + layout.to(part.row, part.column, key));
}

/// The last value of each place is the one that stays.
template <class T, class L>
__global__ void __launch_bounds__(kThreads) putLast(L layout, Sorted s, const T* source, T* out) {
  const int64_t number = threadNumber(), row = number / s.items.n, i = number % s.items.n;
  if (row >= layout.rows()) return;
  const uint32_t key = s.key(row, i);
  if (key == s.out || s.same(row, i, i + 1)) return;
  out[layout.to(row, 0, key)] = source[layout.from(row, 0, s.items.places[number])];
}

/// Calls `run(sorted)`.
template <class L, class F>
void sorted(const L& layout, F&& run) {
  const int64_t n = layout.length(), size = layout.index.size;
  require(size < int64_t(UINT32_MAX), Code::Shape, "cuda: writing through an index takes axes of fewer than 2^32 - 1");
  const ItemMemory<uint32_t> memory(layout.rows(), n);
  const PlaceKeys<L> keys{layout, uint32_t(size)};
  sortRows(keys, memory.items(), layout.rows(), n, int(std::bit_width(uint64_t(size))));
  run(Sorted{memory.items(), keys.out, (n + kPiece - 1) / kPiece});
}

template <class T, int N, class L>
void addSorted(const L& layout, const T* source, T* out) {
  sorted(layout, [&](const Sorted& s) {
    const int64_t threads = layout.rows() * s.pieces * layout.columns();
    const Scratch shares(size_t(2 * threads) * sizeof(Sums<T, N>));
    launch(addPieces<T, N, L>, blocksFor(threads, kThreads), kThreads, 0, stream(), layout, s, source, out,
           shares.as<Sums<T, N>>());
    if (s.pieces > 1)
      launch(addShares<T, N, L>, blocksFor(threads, kThreads), kThreads, 0, stream(), layout, s, out,
             shares.as<Sums<T, N>>());
  });
}

/// out[o][index[k]][i] += source[o][k][i]
void add(const View& index, const View& given, int axis, const View& out, const FaultSite& site, int64_t skip = -1) {
  if (out.size() == 0 || index.size() == 0) return;
  const Prepared source(given, given.dtype), places(index, index.dtype);
  const Around around(out.shape, axis);
  const Index through = indexOf(places.view(), around.size, axis, site);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = source.view().as<T>();
    const auto run = [&]<int N>(Run<N>) {
      addSorted<T, N>(Slices<N>{through, index.size(), around.inner, around.outer, skip}, from, out.as<T>());
    };
    if constexpr (sizeof(T) == 2 || sizeof(T) == 4)
      if (around.inner % kPack<T> == 0 && aligned(from) && aligned(out.memory)) return run(Run<kPack<T>>{});
    run(Run<1>{});
  });
}

/// Each thread follows a lane from its beginning to its end.
template <class T, bool Add>
__global__ void __launch_bounds__(kThreads) scatterLanes(Index index, const T* source, Lanes lanes, T* out) {
  const int64_t lane = threadNumber();
  if (lane >= lanes.count) return;
  int64_t at[2];
  lanes.walk.place(uint32_t(lane), at);
  for (int64_t j = 0; j < lanes.length; ++j) {
    const int64_t position = at[0] + j * lanes.indexStep, place = index.at(position);
    if (place < 0) continue;
    T& to = out[at[1] + place * lanes.step];
    if constexpr (Add)
      to = cpu::convertTo<T>(Sum<T>(cpu::convertTo<Sum<T>>(to) + cpu::convertTo<Sum<T>>(source[position])));
    else to = source[position];
  }
}

constexpr int64_t kManyLanes = 4096;

template <bool Add>
void scatterInto(const Call<ops::IndexAxis>& call, const FaultSite& site) {
  const View &x = call.in[0], &out = call.out[0];
  copy(x, out);
  if (call.in[1].size() == 0 || out.size() == 0) return;
  const int axis = indexAxis(call);
  const Prepared index(call.in[1], call.in[1].dtype), source(call.in[2], call.in[1].shape, x.dtype);
  const Lanes lanes(index.view().shape, out.shape, axis);
  const Index through = indexOf(index.view(), out.shape[axis], axis, site);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = source.view().as<T>();
    if (lanes.count >= kManyLanes || lanes.length < 64)
      return launch(scatterLanes<T, Add>, blocksFor(lanes.count, kThreads), kThreads, 0, stream(), through, from, lanes,
                    out.as<T>());
    const LaneRows rows{through, lanes};
    if constexpr (Add) return addSorted<T, 1>(rows, from, out.as<T>());
    else
      sorted(rows, [&](const Sorted& s) {
        launch(putLast<T, LaneRows>, blocksFor(lanes.count * lanes.length, kThreads), kThreads, 0, stream(), rows, s,
               from, out.as<T>());
      });
  });
}

void scatterCuda(const Call<ops::IndexAxis>& call) { scatterInto<false>(call, inScatter); }
void scatterAddCuda(const Call<ops::IndexAxis>& call) { scatterInto<true>(call, inScatterAdd); }
void indexAddCuda(const Call<ops::IndexAxis>& call) {
  copy(call.in[0], call.out[0]);
  add(call.in[1], call.in[2], indexAxis(call), call.out[0], inAdd);
}
void indexSelectGradCuda(const Call<ops::IndexSelectGrad>& call) {
  fill(call.out[0], 0);
  add(call.in[1], call.in[0], indexAxis(call), call.out[0], inSelectGrad, call.attrs.skip.value_or(-1));
}

const Implement<ops::IndexAxis> onCuda[] = {{"scatter", DeviceType::Cuda, scatterCuda},
                                            {"scatterAdd", DeviceType::Cuda, scatterAddCuda},
                                            {"indexAdd", DeviceType::Cuda, indexAddCuda}};
const Implement<ops::IndexSelectGrad> selectGradOnCuda("indexSelectGrad", DeviceType::Cuda, indexSelectGradCuda);

}  // namespace
}  // namespace anneal::cuda
