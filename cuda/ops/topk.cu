// The k best of long rows: the key that the last of them has is found digit by digit, the most significant first, by
// counting; those before it are taken, and of those equal to it the first; then these k are sorted.
#include "op/infer.h"
#include "ops/sort.h"
#include "order.cuh"

namespace anneal::cuda {
namespace {

/// What is known of the last key to be taken: its first digits, and how many of the keys that share them are taken.
template <class K>
struct Last {
  K digits;
  unsigned taken;
};

/// counts[row][digit]: of the keys that share the digits known so far.
template <class K>
__global__ void __launch_bounds__(kSortThreads)
    countNext(Ordered<K> x, Strips s, int shift, bool first, const Last<K>* last, unsigned* counts) {
  const int64_t row = s.row();
  const K known = first ? K(0) : last[row].digits;
  const unsigned sum = countDigits(s.begin(), s.end(), [&](int64_t i) {
    const K key = x.at(row * s.n + i);
    const bool shared = first || key >> shift >> kDigitBits == known;
    return shared ? int(key >> shift & (kDigits - 1)) : -1;
  });
  if (sum > 0) atomicAdd(&counts[row * kDigits + threadIdx.x], sum);
}

/// Adds the next digit: a block for each row. The counts are left as zeros.
template <class K>
__global__ void __launch_bounds__(kSortThreads) extendLast(unsigned* counts, bool first, unsigned k, Last<K>* last) {
  __shared__ unsigned sums[kWarp];
  const int64_t row = blockIdx.x;
  unsigned& mine = counts[row * kDigits + threadIdx.x];
  const Last<K> known = first ? Last<K>{0, k} : last[row];
  const unsigned count = mine, before = scanBlock(count, 0u, sums, Plus{}).before;  // all have read `last` by now
  mine = 0;
  if (before < known.taken && known.taken <= before + count)
    last[row] = {K(known.digits << kDigitBits | K(threadIdx.x)), known.taken - before};
}

/// One in the upper half for a key before the last, in the lower half for one equal to it.
template <class K>
__device__ __forceinline__ uint64_t standing(K key, K last) {
  return key < last ? uint64_t(1) << 32 : uint64_t(key == last);
}

template <class K>
__global__ void __launch_bounds__(kSortThreads)
    countTaken(Ordered<K> x, Strips s, const Last<K>* last, uint64_t* counts) {
  __shared__ uint64_t sums[kWarp];
  const int64_t row = s.row();
  const K bound = last[row].digits;
  uint64_t own = 0;
  for (int64_t i = s.begin() + threadIdx.x; i < s.end(); i += kSortThreads) own += standing(x.at(row * s.n + i), bound);
  const uint64_t all = mergeBlock(own, sums, Plus{});
  if (threadIdx.x == 0) counts[blockIdx.x] = all;
}

/// Those before the last in the order of their places, then as many equal to it as are taken.
template <class K>
__global__ void __launch_bounds__(kSortThreads)
    take(Ordered<K> x, Strips s, const Last<K>* last, const uint64_t* before, int64_t k, Items<K> to) {
  __shared__ uint64_t sums[kWarp];
  const int64_t row = s.row();
  const Last<K> bound = last[row];
  uint64_t so = before[blockIdx.x];
  for (int64_t begin = s.begin(); begin < s.end(); begin += kSortThreads) {
    const int64_t i = begin + threadIdx.x;
    const K key = i < s.end() ? x.at(row * s.n + i) : K(~K(0));
    const uint64_t mine = i < s.end() ? standing(key, bound.digits) : 0;
    if (__syncthreads_or(mine != 0) == 0) continue;
    const Prefix<uint64_t> prefix = scanBlock(mine, uint64_t(0), sums, Plus{});
    const uint64_t at = so + prefix.before;
    const auto less = int64_t(at >> 32), equal = int64_t(at & 0xffffffffu);
    if (mine >> 32) to.store(row, less, key, uint32_t(i));
    else if (mine && equal < int64_t(bound.taken)) to.store(row, k - bound.taken + equal, key, uint32_t(i));
    so += prefix.all;
  }
}

template <class K>
void selectRows(const Ordered<K>& x, int64_t rows, int64_t n, int64_t k, const Picked& picked) {
  const Strips s(rows, n, 16 * kSortThreads);
  const Scratch counts(size_t(rows * kDigits) * sizeof(unsigned)), last(size_t(rows) * sizeof(Last<K>)),
      taken(size_t(s.blocks()) * sizeof(uint64_t));
  check(cudaMemsetAsync(counts.as<void>(), 0, size_t(rows * kDigits) * sizeof(unsigned), stream()), "zeros");
  for (int shift = x.bits() - kDigitBits; shift >= 0; shift -= kDigitBits) {
    const bool first = shift == x.bits() - kDigitBits;
    launch(countNext<K>, s.blocks(), kSortThreads, 0, stream(), x, s, shift, first, last.as<Last<K>>(),
           counts.as<unsigned>());
    launch(extendLast<K>, unsigned(rows), kSortThreads, 0, stream(), counts.as<unsigned>(), first, unsigned(k),
           last.as<Last<K>>());
  }
  const ItemMemory<K> best(rows, k);
  launch(countTaken<K>, s.blocks(), kSortThreads, 0, stream(), x, s, last.as<Last<K>>(), taken.as<uint64_t>());
  sumStrips<uint64_t>(taken.as<uint64_t>(), rows, s.strips, nullptr);
  launch(take<K>, s.blocks(), kSortThreads, 0, stream(), x, s, last.as<Last<K>>(), taken.as<uint64_t>(), k,
         best.items());
  sortRows(best.items(), picked, rows, k, x.bits());
}

void topKCuda(const Call<ops::TopK>& call) {
  if (call.out[0].size() == 0) return;
  const Prepared x(call.in[0], call.in[0].dtype);
  const int axis = resolveAxis("topK", call.attrs.axis, std::max(1, x.view().shape.rank()));
  alongRows(x.view(), axis, call.out[0], call.out[1], [&](const View& rows, const View& values, const View& indices) {
    const int last = rows.shape.rank() - 1;
    const int64_t n = last < 0 ? 1 : rows.shape[last], k = call.attrs.k;
    // Where much is kept, or rows are short, sorting all of them reads less often.
    if (n <= kShortRow || k > n / 4) return sortPicked(rows, call.attrs.largest, values, indices);
    require(n < int64_t(UINT32_MAX), Code::Shape, "cuda: topK takes fewer than 2^32 - 1 elements at a time; got ", n);
    const Picked picked{rows.memory, int(itemSize(rows.dtype)), values.memory, indices.as<int64_t>(), n, k};
    visitOrder(rows, n, call.attrs.largest,
               [&](const auto& ordered) { selectRows(ordered, rows.size() / n, n, k, picked); });
  });
}
const Implement<ops::TopK> topKOnCuda("topK", DeviceType::Cuda, topKCuda);

}  // namespace
}  // namespace anneal::cuda
