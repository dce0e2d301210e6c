#pragma once
#include "ops/attention.h"
#include "random.cuh"

namespace anneal::cuda {

/// Dropout of attention's weights, which are numbered as [batch, heads, queries, keys].
struct WeightDropout {
  Key key;
  uint32_t bound = 0;  // weights whose word is below it are 0; 0: there is no dropout
  float scale = 1;     // of the others
  int64_t heads = 0, queries = 0, keys = 0;

  WeightDropout() = default;
  WeightDropout(const ops::Flash& attrs, const View& from, const View& q, const View& k)
      : key(from),
        bound(uint32_t(philox::fraction(attrs.dropoutP))),
        scale(float(1 / (1 - attrs.dropoutP))),
        heads(q.shape[1]),
        queries(q.shape[2]),
        keys(k.shape[2]) {}

  __device__ explicit operator bool() const { return bound != 0; }

  /// Bit i says whether the weight of the query and the key that placeOf(i, query, key) gives is kept, i < Count <= 64.
  /// Neighbouring keys share a block of words where they come one after the other.
  template <int Count, class F>
  __device__ __forceinline__ uint64_t kept(int batch, int head, F&& placeOf) const {
    const int64_t first = (int64_t(batch) * heads + head) * queries;
    uint64_t bits = 0;
    int64_t drawn = -1;
    uint32_t words[4] = {};
#pragma unroll 1
    for (int i = 0; i < Count; ++i) {
      int query, at;
      placeOf(i, query, at);
      const int64_t number = (first + query) * keys + at;
      if (number / 4 != drawn) key.sequence().words(drawn = number / 4, 0, words);
      bits |= uint64_t(wordOf(number, words) >= bound) << i;
    }
    return bits;
  }
};

}  // namespace anneal::cuda
