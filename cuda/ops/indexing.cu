// Reading through an index: gather, indexSelect, embedding, oneHot.
#include "cpu/copy.h"
#include "indexing.cuh"

namespace anneal::cuda {
namespace {

constexpr int kThreads = 256;

const FaultSite inGather = outOfRange("gather"), inSelect = outOfRange("indexSelect"),
                inEmbedding = outOfRange("embedding");
const FaultSite inOneHot([](const FaultRecord& r) {
  return Error(Code::Index, text("oneHot: class ", r.a, " at position ", r.b, " is out of range for ", r.c,
                                 " classes; expected 0 to ", r.c - 1));
});

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
void indexSelectCuda(const Call<ops::IndexAxis>& call) {
  select(call.in[0], call.in[1], indexAxis(call), call.out[0], inSelect);
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

const Implement<ops::IndexAxis> onCuda[] = {{"gather", DeviceType::Cuda, gatherCuda},
                                            {"indexSelect", DeviceType::Cuda, indexSelectCuda}};
const Implement<ops::Embedding> embeddingOnCuda("embedding", DeviceType::Cuda, embeddingCuda);
const Implement<ops::OneHot> oneHotOnCuda("oneHot", DeviceType::Cuda, oneHotCuda);

}  // namespace
}  // namespace anneal::cuda
