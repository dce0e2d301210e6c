// Reading and writing through an index: gather, scatter, scatterAdd, indexSelect, indexAdd, indexSelectGrad, embedding,
// oneHot, nonzeroAt. Where several values meet in one place, they do so in the order of the index.
#include "ops/indexing.h"

#include "copy.h"
#include "cpu/copy.h"
#include "device.h"
#include "index.h"
#include "value.h"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowsPerBlock = 32;  // results that a block of addRows owns

FaultSite outOfRange(const char* op) {
  return FaultSite([op](const FaultRecord& r) {
    if (r.c == 0)
      return Error(Code::Index, text(op, ": index ", r.a, " at position ", r.b, ": axis ", r.d, " is empty"));
    return Error(Code::Index, text(op, ": index ", r.a, " at position ", r.b, " is out of range for axis ", r.d,
                                   " of size ", r.c, "; expected 0 to ", r.c - 1));
  });
}
const FaultSite inGather = outOfRange("gather"), inScatter = outOfRange("scatter"),
                inScatterAdd = outOfRange("scatterAdd"), inSelect = outOfRange("indexSelect"),
                inAdd = outOfRange("indexAdd"), inSelectGrad = outOfRange("indexSelectGrad"),
                inEmbedding = outOfRange("embedding"), inOneHot = outOfRange("oneHot");

/// An index, and how to complain of what is in it.
struct Index {
  const void* memory;
  bool wide;
  int64_t size;  // of the axis
  int axis, site;
  FaultRecord* record;

  /// The index at `position`; -1 where it is out of range.
  __device__ int64_t at(int64_t position) const {
    const int64_t i =
        wide ? static_cast<const int64_t*>(memory)[position] : static_cast<const int32_t*>(memory)[position];
    if (i >= 0 && i < size) return i;
    report(record, site, i, position, size, axis);
    return -1;
  }
};

/// A shape around an axis: [outer, size, inner].
struct Around {
  int64_t outer, size, inner;
  Around(const Shape& shape, int axis)
      : outer(shape.slice(0, axis).product()),
        size(shape[axis]),
        inner(shape.slice(axis + 1, shape.rank()).product()) {}
};

Index indexOf(const View& index, int64_t size, int axis, const FaultSite& site) {
  return {index.memory, index.dtype == DType::Int64, size, axis, site.number(), current().faults()};
}

/// a + b in T, the 16-bit floats through float.
template <class T>
__device__ T plus(T a, T b) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
    return cpu::convertTo<T>(toFloat(a) + toFloat(b));
  else if constexpr (std::is_same_v<T, bool>) return a || b;
  else if constexpr (std::is_integral_v<T>) return T(std::make_unsigned_t<T>(a) + std::make_unsigned_t<T>(b));
  else return a + b;
}

/// out[o][k][i] = x[o][index[k]][i]; zero where the index is out of range.
template <class T>
__global__ void __launch_bounds__(kThreads)
    selectSlices(const T* x, Index index, T* out, int64_t count, int64_t inner, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  const int64_t slice = i / inner, k = slice % count, from = index.at(k);
  out[i] = from < 0 ? T{} : x[(slice / count * index.size + from) * inner + i % inner];
}

struct Wide {
  uint4 v;
};

template <class T>
void selectAs(const View& x, const Index& index, const View& out, int64_t count, int64_t inner) {
  const int64_t n = out.size() * int64_t(itemSize(out.dtype)) / int64_t(sizeof(T));
  launch(selectSlices<T>, blocksFor(n, kThreads), kThreads, 0, stream(), x.as<T>(), index, out.as<T>(), count, inner,
         n);
}

void select(const View& given, const View& index, int axis, const View& out, const FaultSite& site) {
  if (out.size() == 0) return;
  const Prepared x(given, given.dtype), places(index, index.dtype);
  const Around around(x.view().shape, axis);
  const Index through = indexOf(places.view(), around.size, axis, site);
  const int64_t bytes = around.inner * int64_t(itemSize(out.dtype)), count = index.size();
  if (bytes % 16 == 0 && aligned(x.view().memory) && aligned(out.memory))
    return selectAs<Wide>(x.view(), through, out, count, bytes / 16);
  cpu::visitWidth(out.dtype, [&]<class T>(TypeTag<T>) { selectAs<T>(x.view(), through, out, count, around.inner); });
}

/// out[o][index[k]][i] += source[o][k][i] in the order of k: a block owns some slices of the result, looks through the
/// index for them, and each of its threads adds to its own columns.
template <class T>
__global__ void __launch_bounds__(kThreads)
    addSlices(Index index, const T* source, T* out, int64_t count, int64_t inner, int64_t skip) {
  __shared__ int64_t from[kThreads], to[kThreads];
  __shared__ int found[kThreads];
  const int64_t first = int64_t(blockIdx.x) * kRowsPerBlock, outer = blockIdx.y;
  const int me = int(threadIdx.x);
  for (int64_t begin = 0; begin < count; begin += kThreads) {
    const int64_t k = begin + me;
    const int64_t place = k < count ? index.at(k) : -1;
    found[me] = place >= first && place < first + kRowsPerBlock && place != skip;
    if (!__syncthreads_or(found[me])) continue;
    int before = 0, all = 0;
    for (int t = 0; t < kThreads; ++t) {
      before += t < me ? found[t] : 0;
      all += found[t];
    }
    if (found[me]) {
      from[before] = k;
      to[before] = place;
    }
    __syncthreads();
    for (int h = 0; h < all; ++h) {
      const T* row = source + (outer * count + from[h]) * inner;
      T* sum = out + (outer * index.size + to[h]) * inner;
      for (int64_t c = me; c < inner; c += kThreads) sum[c] = plus(sum[c], row[c]);
    }
    __syncthreads();
  }
}

void add(const View& index, const View& given, int axis, const View& out, const FaultSite& site, int64_t skip = -1) {
  if (out.size() == 0 || index.size() == 0) return;
  const Prepared source(given, given.dtype), places(index, index.dtype);
  const Around around(out.shape, axis);
  require(around.outer <= 65535, Code::Shape,
          "cuda: an addition through an index takes at most 65535 outer slices; got ", around.outer);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    launch(addSlices<T>, dim3(blocksFor(around.size, kRowsPerBlock), unsigned(around.outer)), kThreads, 0, stream(),
           indexOf(places.view(), around.size, axis, site), source.view().as<T>(), out.as<T>(), index.size(),
           around.inner, skip);
  });
}

/// How the lanes of an index along its axis lie in it and in a tensor whose other axes may be longer.
struct Lanes {
  Walk<2, int64_t> walk;  // from a lane's number to its first element in the index and in the tensor
  int64_t count = 1;      // lanes
  int64_t length = 0;     // of each, in the index
  int64_t indexStep = 0, step = 0;

  Lanes(const Shape& index, const Shape& tensor, int axis) : length(index[axis]) {
    const Strides a = contiguousStrides(index), b = contiguousStrides(tensor);
    indexStep = a[axis];
    step = b[axis];
    for (int i = index.rank() - 1; i >= 0; --i) {
      if (i == axis || index[i] == 1) continue;
      walk.size[walk.rank] = Divider(uint32_t(index[i]));
      walk.stride[walk.rank][0] = a[i];
      walk.stride[walk.rank][1] = b[i];
      ++walk.rank;
      count *= index[i];
    }
    require(count < int64_t(1) << 31, Code::Shape, "cuda: an index has more than 2^31 lanes");
  }
};

/// out[.., j, ..] = x[.., index[.., j, ..], ..], numbered lane by lane where j runs slowest.
template <class T>
__global__ void __launch_bounds__(kThreads) gatherLanes(const T* x, Index index, Lanes lanes, T* out, int64_t n) {
  const int64_t i = threadNumber();
  if (i >= n) return;
  int64_t at[2];
  lanes.walk.place(uint32_t(i % lanes.count), at);
  const int64_t position = at[0] + i / lanes.count * lanes.indexStep, place = index.at(position);
  out[position] = place < 0 ? T{} : x[at[1] + place * lanes.step];
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
    to = Add ? plus(to, source[position]) : source[position];
  }
}

/// Few and long lanes: each thread owns a place of the result and looks through the lane for it.
template <class T, bool Add>
__global__ void __launch_bounds__(kThreads) scatterOwned(Index index, const T* source, Lanes lanes, T* out) {
  const int64_t mine = threadNumber();
  int64_t at[2];
  lanes.walk.place(blockIdx.y, at);
  T* to = out + at[1] + mine * lanes.step;
  T value{};
  if (mine < index.size) value = *to;
  for (int64_t j = 0; j < lanes.length; ++j) {
    const int64_t position = at[0] + j * lanes.indexStep;
    if (index.at(position) == mine && mine < index.size) value = Add ? plus(value, source[position]) : source[position];
  }
  if (mine < index.size) *to = value;
}

constexpr int64_t kManyLanes = 4096;

template <bool Add>
void scatterInto(const Call<ops::IndexAxis>& call, const FaultSite& site) {
  const View &x = call.in[0], &out = call.out[0];
  copy(x, out);
  if (call.in[1].size() == 0 || out.size() == 0) return;
  const int axis = resolveAxis("scatter", call.attrs.axis, x.shape.rank());
  const Prepared index(call.in[1], call.in[1].dtype), source(call.in[2], call.in[1].shape, x.dtype);
  const Lanes lanes(index.view().shape, out.shape, axis);
  const Index through = indexOf(index.view(), out.shape[axis], axis, site);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = source.view().as<T>();
    if (lanes.count >= kManyLanes || lanes.length < 64)
      launch(scatterLanes<T, Add>, blocksFor(lanes.count, kThreads), kThreads, 0, stream(), through, from, lanes,
             out.as<T>());
    else
      launch(scatterOwned<T, Add>, dim3(blocksFor(out.shape[axis], kThreads), unsigned(lanes.count)), kThreads, 0,
             stream(), through, from, lanes, out.as<T>());
  });
}

void gatherCuda(const Call<ops::IndexAxis>& call) {
  const View& out = call.out[0];
  if (out.size() == 0) return;
  const Prepared x(call.in[0], call.in[0].dtype), index(call.in[1], call.in[1].dtype);
  const int axis = resolveAxis("gather", call.attrs.axis, x.view().shape.rank());
  const Lanes lanes(index.view().shape, x.view().shape, axis);
  cpu::visitWidth(out.dtype, [&]<class T>(TypeTag<T>) {
    launch(gatherLanes<T>, blocksFor(out.size(), kThreads), kThreads, 0, stream(), x.view().as<T>(),
           indexOf(index.view(), x.view().shape[axis], axis, inGather), lanes, out.as<T>(), out.size());
  });
}
void scatterCuda(const Call<ops::IndexAxis>& call) { scatterInto<false>(call, inScatter); }
void scatterAddCuda(const Call<ops::IndexAxis>& call) { scatterInto<true>(call, inScatterAdd); }

template <class A>
int axisOf(const Call<A>& call) {
  return resolveAxis("index", call.attrs.axis, call.in[0].shape.rank());
}
void indexSelectCuda(const Call<ops::IndexAxis>& call) {
  select(call.in[0], call.in[1], axisOf(call), call.out[0], inSelect);
}
void indexAddCuda(const Call<ops::IndexAxis>& call) {
  copy(call.in[0], call.out[0]);
  add(call.in[1], call.in[2], axisOf(call), call.out[0], inAdd);
}
void indexSelectGradCuda(const Call<ops::IndexSelectGrad>& call) {
  fill(call.out[0], 0);
  add(call.in[1], call.in[0], axisOf(call), call.out[0], inSelectGrad, call.attrs.skip.value_or(-1));
}
void embeddingCuda(const Call<ops::Embedding>& call) { select(call.in[0], call.in[1], 0, call.out[0], inEmbedding); }

template <class T>
__global__ void __launch_bounds__(kThreads) oneHotRows(Index index, T one, T* out, int64_t n) {
  const int64_t i = threadNumber();
  if (i < n) out[i] = index.at(i / index.size) == i % index.size ? one : T{};
}
void oneHotCuda(const Call<ops::OneHot>& call) {
  const View& out = call.out[0];
  if (out.size() == 0) return;
  const Prepared index(call.in[0], call.in[0].dtype);
  visitType(out.dtype, [&]<class T>(TypeTag<T>) {
    launch(oneHotRows<T>, blocksFor(out.size(), kThreads), kThreads, 0, stream(),
           indexOf(index.view(), call.attrs.classes, out.shape.rank() - 1, inOneHot), cpu::convertTo<T>(1.0f),
           out.as<T>(), out.size());
  });
}

/// How many elements of each run of kThreads are not 0.
__global__ void __launch_bounds__(kThreads) countRuns(const void* x, DType dtype, int64_t n, int64_t* counts) {
  const int64_t i = threadNumber();
  __shared__ int total;
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  if (i < n && loadAs<double>(x, dtype, i) != 0.0) atomicAdd(&total, 1);
  __syncthreads();
  if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

/// Running sums of the counts before each, by one thread for as many as there are.
__global__ void __launch_bounds__(kThreads) sumBefore(int64_t* counts, int64_t runs) {
  __shared__ int64_t sums[kThreads];
  const int64_t share = (runs + kThreads - 1) / kThreads, begin = threadIdx.x * share;
  const int64_t end = std::min(runs, begin + share);
  int64_t own = 0;
  for (int64_t i = begin; i < end; ++i) own += counts[i];
  sums[threadIdx.x] = own;
  __syncthreads();
  int64_t before = 0;
  for (unsigned t = 0; t < threadIdx.x; ++t) before += sums[t];
  for (int64_t i = begin; i < end; ++i) {
    const int64_t mine = counts[i];
    counts[i] = before;
    before += mine;
  }
}

struct Dimensions {
  int rank;
  int64_t size[kMaxRank];
};

/// Writes the places of a run's elements that are not 0 where those of earlier runs end; no more than `most`.
__global__ void __launch_bounds__(kThreads) writePlaces(const void* x, DType dtype, int64_t n, const int64_t* before,
                                                        Dimensions shape, bool flat, int64_t most, int64_t* out) {
  __shared__ int found[kThreads];
  const int64_t i = threadNumber();
  found[threadIdx.x] = i < n && loadAs<double>(x, dtype, i) != 0.0;
  __syncthreads();
  if (!found[threadIdx.x]) return;
  int64_t at = before[blockIdx.x];
  for (unsigned t = 0; t < threadIdx.x; ++t) at += found[t];
  if (at >= most) return;
  if (flat) {
    out[at] = i;
    return;
  }
  int64_t rest = i;
  for (int axis = shape.rank - 1; axis >= 0; --axis) {
    out[at * shape.rank + axis] = rest % shape.size[axis];
    rest /= shape.size[axis];
  }
}

void nonzeroCuda(const Call<ops::Nonzero>& call) {
  const View& out = call.out[0];
  const Prepared x(call.in[0], call.in[0].dtype);
  const int64_t n = x.view().size();
  if (n == 0 || out.size() == 0) return;
  Dimensions shape{x.view().shape.rank(), {}};
  std::copy(x.view().shape.begin(), x.view().shape.end(), shape.size);
  const unsigned runs = blocksFor(n, kThreads);
  const Scratch counts(runs * sizeof(int64_t));
  launch(countRuns, runs, kThreads, 0, stream(), x.view().memory, x.view().dtype, n, counts.as<int64_t>());
  launch(sumBefore, 1, kThreads, 0, stream(), counts.as<int64_t>(), int64_t(runs));
  launch(writePlaces, runs, kThreads, 0, stream(), x.view().memory, x.view().dtype, n, counts.as<int64_t>(), shape,
         call.attrs.flat, call.attrs.count, out.as<int64_t>());
}

const Implement<ops::IndexAxis> onCuda[] = {{"gather", DeviceType::Cuda, gatherCuda},
                                            {"scatter", DeviceType::Cuda, scatterCuda},
                                            {"scatterAdd", DeviceType::Cuda, scatterAddCuda},
                                            {"indexSelect", DeviceType::Cuda, indexSelectCuda},
                                            {"indexAdd", DeviceType::Cuda, indexAddCuda}};
const Implement<ops::IndexSelectGrad> selectGradOnCuda("indexSelectGrad", DeviceType::Cuda, indexSelectGradCuda);
const Implement<ops::Embedding> embeddingOnCuda("embedding", DeviceType::Cuda, embeddingCuda);
const Implement<ops::OneHot> oneHotOnCuda("oneHot", DeviceType::Cuda, oneHotCuda);
const Implement<ops::Nonzero> nonzeroOnCuda("nonzeroAt", DeviceType::Cuda, nonzeroCuda);

}  // namespace
}  // namespace anneal::cuda
