#pragma once
// Stable sorting of the rows of a matrix by unsigned keys. Short rows are sorted by a block in shared memory (bitonic:
// Batcher 1968), long ones digit by digit, the least significant first, by all multiprocessors. What is sorted and
// where it goes is given by
//   From: Key, the type of its keys, and load(row, i, Key&, uint32_t& place) const
//   To: store(row, rank, Key, place) const
// where places in a row are below 2^32 - 1 and decide between equal keys: they rise with i.
#include <algorithm>
#include <bit>

#include "device.h"
#include "index.h"
#include "warp.h"

namespace anneal::cuda {

constexpr int kSortThreads = 256, kSortWarps = kSortThreads / kWarp;
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
static_assert(kDigits == kSortThreads, "a thread for each digit");
constexpr int64_t kShortRow = 2048;

struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

/// Keys and places in memory, in rows of n.
template <class K>
struct Items {
  using Key = K;
  K* keys;
  uint32_t* places;
  int64_t n;
  __device__ void load(int64_t row, int64_t i, K& key, uint32_t& place) const {
    key = keys[row * n + i];
    place = places[row * n + i];
  }
  __device__ void store(int64_t row, int64_t rank, K key, uint32_t place) const {
    keys[row * n + rank] = key;
    places[row * n + rank] = place;
  }
};

/// Working memory for items.
template <class K>
class ItemMemory {
 public:
  ItemMemory(int64_t rows, int64_t n)
      : keys_(std::max<size_t>(size_t(rows * n) * sizeof(K), 1)),
        places_(std::max<size_t>(size_t(rows * n) * sizeof(uint32_t), 1)),
        n_(n) {}
  Items<K> items() const { return {keys_.template as<K>(), places_.template as<uint32_t>(), n_}; }

 private:
  Scratch keys_, places_;
  int64_t n_;
};

template <class K>
struct KeyPlace {
  K key;
  uint32_t place;
  __device__ bool operator<(const KeyPlace& o) const { return key < o.key || (key == o.key && place < o.place); }
};

/// Rows of up to `width` items, a power of two; a block has several where they are short. Steps that stay within the 64
/// items of a warp need no barrier of the block.
template <class From, class To>
__global__ void __launch_bounds__(kShortRow / 2) sortShort(From from, To to, int64_t rows, int n, int width) {
  using Pair = KeyPlace<typename From::Key>;
  Pair* pairs = dynamicShared<Pair>();
  const int t = int(threadIdx.x), threads = int(blockDim.x), size = 2 * threads;
  const int64_t first = int64_t(blockIdx.x) * (size / width);
  for (int e = t; e < size; e += threads) {
    const int64_t row = first + e / width;
    const int i = e & (width - 1);
    Pair pair{typename From::Key(~typename From::Key(0)), ~0u};
    if (row < rows && i < n) from.load(row, i, pair.key, pair.place);
    pairs[e] = pair;
  }
  __syncthreads();
  for (int run = 2; run <= width; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      const int low = 2 * t - (t & (step - 1)), high = low + step;
      const bool rising = (low & run & (width - 1)) == 0;
      const Pair a = pairs[low], b = pairs[high];
      if ((b < a) == rising) {
        pairs[low] = b;
        pairs[high] = a;
      }
      const int next = step > 1 ? step / 2 : run;
      if (std::max(step, next) > kWarp) __syncthreads();
      else __syncwarp();
    }
  }
  __syncthreads();
  for (int e = t; e < size; e += threads) {
    const int64_t row = first + e / width;
    const int i = e & (width - 1);
    if (row < rows && i < n) to.store(row, i, pairs[e].key, pairs[e].place);
  }
}

/// Rows cut into strips of whole tiles, so that there are blocks for the whole GPU: block b has strip b % strips of row
/// b / strips.
struct Strips {
  int64_t rows, n, length;
  int strips;

  Strips(int64_t rows, int64_t n, int64_t tile) : rows(rows), n(n) {
    constexpr int64_t kBlocksPerProcessor = 8;
    const int64_t tiles = (n + tile - 1) / tile, wanted = kBlocksPerProcessor * current().multiprocessors();
    const int64_t most = std::clamp<int64_t>((wanted + rows - 1) / rows, 1, tiles);
    length = (tiles + most - 1) / most * tile;
    strips = int((n + length - 1) / length);
  }
  unsigned blocks() const { return unsigned(rows * strips); }
  __device__ int64_t row() const { return blockIdx.x / unsigned(strips); }
  __device__ int strip() const { return int(blockIdx.x % unsigned(strips)); }
  __device__ int64_t begin() const { return strip() * length; }
  __device__ int64_t end() const { return std::min(n, begin() + length); }
};

/// How often each digit occurs among a block's items, counted warp by warp; in the end of the digit that is the
/// thread's. `digitOf(i)` is that of item i, or -1.
template <class F>
__device__ __forceinline__ unsigned countDigits(int64_t begin, int64_t end, F&& digitOf) {
  __shared__ unsigned counts[kSortWarps][kDigits];
  for (int w = 0; w < kSortWarps; ++w) counts[w][threadIdx.x] = 0;
  __syncthreads();
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x; i < end; i += kSortThreads) {
    const int digit = digitOf(i);
    if (digit >= 0) atomicAdd(&counts[threadIdx.x / kWarp][digit], 1u);
  }
  __syncthreads();
  unsigned sum = 0;
  for (int w = 0; w < kSortWarps; ++w) sum += counts[w][threadIdx.x];
  return sum;
}

/// counts[row][digit][strip]
template <class From>
__global__ void __launch_bounds__(kSortThreads, 4) countStrips(From from, Strips s, int shift, unsigned* counts) {
  const int64_t row = s.row();
  const unsigned sum = countDigits(s.begin(), s.end(), [&](int64_t i) {
    typename From::Key key;
    uint32_t place;
    from.load(row, i, key, place);
    return int(key >> shift & (kDigits - 1));
  });
  counts[(row * kDigits + threadIdx.x) * s.strips + s.strip()] = sum;
}

/// Each group of counts becomes the sums of those before each: a warp for a group.
template <class T>
__global__ void __launch_bounds__(kSortThreads) sumBefore(T* counts, int64_t groups, int strips, T* totals) {
  const int64_t group = threadNumber() / kWarp;
  if (group >= groups) return;
  T* own = counts + group * strips;
  T before = 0;
  for (int first = 0; first < strips; first += kWarp) {
    const int at = first + int(threadIdx.x) % kWarp;
    const Prefix<T> sums = scanWarp<T>(at < strips ? own[at] : T(0), T(0), Plus{});
    if (at < strips) own[at] = before + sums.before;
    before += sums.all;
  }
  if (totals && threadIdx.x % kWarp == 0) totals[group] = before;
}

template <class T>
void sumStrips(T* counts, int64_t groups, int strips, T* totals) {
  launch(sumBefore<T>, blocksFor(groups * kWarp, kSortThreads), kSortThreads, 0, stream(), counts, groups, strips,
         totals);
}

/// Items that a thread has of a tile.
template <class K>
inline constexpr int kSortItems = 64 / int(sizeof(K));
template <class K>
inline constexpr int kSortTile = kSortItems<K>* kSortThreads;

/// Puts a strip's items where their digit's places begin for it, tile by tile: a tile is put in order in shared memory
/// first, so that runs of a digit are written side by side.
template <class From, class To>
__global__ void __launch_bounds__(kSortThreads, sizeof(typename From::Key) == 8 ? 2 : 0)
    moveStrips(From from, To to, Strips s, int shift, const unsigned* counts, const unsigned* totals) {
  using K = typename From::Key;
  constexpr int kItems = kSortItems<K>, kTile = kSortTile<K>;
  __shared__ K keys[kTile];
  __shared__ uint32_t places[kTile];
  __shared__ unsigned ranks[kSortWarps][kDigits], sums[kWarp];
  __shared__ unsigned target[kDigits];  // of a digit's item: its place in the tile plus this, modulo 2^32
  const int t = int(threadIdx.x), warp = t / kWarp, lane = t % kWarp;
  const int64_t row = s.row();
  const unsigned earlier = scanBlock(totals[row * kDigits + t], 0u, sums, Plus{}).before;
  unsigned next = earlier + counts[(row * kDigits + t) * s.strips + s.strip()];  // of digit t
  for (int64_t tile = s.begin(); tile < s.end(); tile += kTile) {
    const int count = int(std::min<int64_t>(kTile, s.end() - tile));
    K key[kItems];
    uint32_t place[kItems];
    unsigned rank[kItems];
    for (int w = 0; w < kSortWarps; ++w) ranks[w][t] = 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const int at = (warp * kItems + i) * kWarp + lane;
      int digit = -1;
      if (at < count) {
        from.load(row, tile + at, key[i], place[i]);
        digit = int(key[i] >> shift & (kDigits - 1));
      }
      const unsigned same = __match_any_sync(kAllLanes, digit);
      if (digit >= 0) rank[i] = ranks[warp][digit] + unsigned(__popc(same & ((1u << lane) - 1)));
      __syncwarp();
      if (digit >= 0 && (same >> lane) == 1) ranks[warp][digit] += unsigned(__popc(same));  // the last of them
      __syncwarp();
    }
    __syncthreads();
    unsigned all = 0;
    for (int w = 0; w < kSortWarps; ++w) {
      const unsigned own = ranks[w][t];
      ranks[w][t] = all;
      all += own;
    }
    const unsigned start = scanBlock(all, 0u, sums, Plus{}).before;
    for (int w = 0; w < kSortWarps; ++w) ranks[w][t] += start;
    target[t] = next - start;
    next += all;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if ((warp * kItems + i) * kWarp + lane >= count) continue;
      const unsigned at = ranks[warp][key[i] >> shift & (kDigits - 1)] + rank[i];
      keys[at] = key[i];
      places[at] = place[i];
    }
    __syncthreads();
    for (int at = t; at < count; at += kSortThreads)
      to.store(row, int64_t(target[keys[at] >> shift & (kDigits - 1)] + unsigned(at)), keys[at], places[at]);
    __syncthreads();
  }
}

template <class From, class To>
void sortDigit(const From& from, const To& to, const Strips& s, int shift, const Scratch& counts,
               const Scratch& totals) {
  launch(countStrips<From>, s.blocks(), kSortThreads, 0, stream(), from, s, shift, counts.as<unsigned>());
  sumStrips(counts.as<unsigned>(), s.rows * kDigits, s.strips, totals.as<unsigned>());
  launch(moveStrips<From, To>, s.blocks(), kSortThreads, 0, stream(), from, to, s, shift, counts.as<unsigned>(),
         totals.as<unsigned>());
}

template <class From, class To>
void sortLong(const From& from, const To& to, int64_t rows, int64_t n, int bits) {
  using K = typename From::Key;
  const Strips s(rows, n, kSortTile<K>);
  const Scratch counts(size_t(rows * kDigits * s.strips) * sizeof(unsigned)),
      totals(size_t(rows * kDigits) * sizeof(unsigned));
  const int passes = std::max(1, (bits + kDigitBits - 1) / kDigitBits);
  if (passes == 1) return sortDigit(from, to, s, 0, counts, totals);
  const ItemMemory<K> first(rows, n), second(passes > 2 ? rows : 0, n);
  Items<K> now = first.items(), other = second.items();
  sortDigit(from, now, s, 0, counts, totals);
  for (int pass = 1; pass + 1 < passes; ++pass, std::swap(now, other))
    sortDigit(now, other, s, pass * kDigitBits, counts, totals);
  sortDigit(now, to, s, (passes - 1) * kDigitBits, counts, totals);
}

/// Sorts rows of n items by the lowest `bits` of their keys; the others are 0.
template <class From, class To>
void sortRows(const From& from, const To& to, int64_t rows, int64_t n, int bits) {
  if (rows == 0 || n == 0) return;
  require(n < int64_t(UINT32_MAX), Code::Shape, "cuda: sorting takes fewer than 2^32 - 1 elements at a time; got ", n);
  if (n > kShortRow) return sortLong(from, to, rows, n, bits);
  const int width = int(std::bit_ceil(uint64_t(std::max<int64_t>(n, 2)))), size = std::max(width, 512);
  launch(sortShort<From, To>, blocksFor(rows, size / width), unsigned(size / 2),
         size_t(size) * sizeof(KeyPlace<typename From::Key>), stream(), from, to, rows, int(n), width);
}

}  // namespace anneal::cuda
