#include "cpu/sort.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cpu/order.h"
#include "cpu/parallel.h"
#include "cpu/scan.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kGrain = 4096;
constexpr int64_t kRadixFrom = 96;  // shorter rows are sorted by comparison

template <class T>
using Order = decltype(orderOf(T{}));

/// An order and the place it was found; places decide between equal orders.
struct Item {
  uint64_t order;
  int64_t place;
  bool operator<(const Item& o) const { return order < o.order || (order == o.order && place < o.place); }
};

/// The order in the upper half of one number, the place in the lower: for rows of fewer than 2^32 elements.
using Packed = uint64_t;

inline uint64_t keyOf(Packed p) { return p >> 32; }
inline uint64_t keyOf(const Item& i) { return i.order; }
inline int64_t placeOf(Packed p) { return int64_t(p & 0xffffffffu); }
inline int64_t placeOf(const Item& i) { return i.place; }
template <class I, class O>
I makeItem(O order, int64_t place) {
  if constexpr (std::is_same_v<I, Packed>) return uint64_t(order) << 32 | uint64_t(place);
  else return Item{order, place};
}

/// Least significant digit first. Items come in the order of their places, which ties keep.
template <class I>
void radixSort(std::vector<I>& items, std::vector<I>& other) {
  const size_t n = items.size();
  // Long rows take fewer passes over wider digits.
  const int keyBits = std::is_same_v<I, Packed> ? 32 : 64, bits = n > 16384 ? 11 : 8,
            digits = (keyBits + bits - 1) / bits;
  const uint64_t mask = (uint64_t(1) << bits) - 1;
  std::vector<uint32_t> counts(size_t(digits) << bits);
  for (const I& item : items)
    for (int d = 0; d < digits; ++d) ++counts[(size_t(d) << bits) + (keyOf(item) >> (d * bits) & mask)];
  other.resize(n);
  for (int d = 0; d < digits; ++d) {
    uint32_t* count = &counts[size_t(d) << bits];
    if (count[keyOf(items[0]) >> (d * bits) & mask] == n) continue;
    uint32_t start = 0;
    for (size_t b = 0; b <= mask; ++b) start += std::exchange(count[b], start);
    for (const I& item : items) other[count[keyOf(item) >> (d * bits) & mask]++] = item;
    items.swap(other);
  }
}

template <class T, class I>
void write(const T* x, int64_t xStep, const std::vector<I>& items, int64_t k, T* values, int64_t* indices,
           int64_t step) {
  for (int64_t j = 0; j < k; ++j) {
    const int64_t place = placeOf(items[size_t(j)]);
    values[j * step] = x[place * xStep];
    indices[j * step] = place;
  }
}

template <class T, class I>
void sortLine(const T* x, const Lines& line, bool descending, T* values, int64_t* indices, std::vector<I>& items,
              std::vector<I>& other) {
  const Order<T> flip = descending ? Order<T>(~Order<T>(0)) : Order<T>(0);
  items.resize(size_t(line.n));
  for (int64_t j = 0; j < line.n; ++j) items[size_t(j)] = makeItem<I>(Order<T>(orderOf(x[j * line.step]) ^ flip), j);
  if (line.n < kRadixFrom || line.n > int64_t(UINT32_MAX)) std::sort(items.begin(), items.end());
  else radixSort(items, other);
  write(x, line.step, items, line.n, values, indices, line.step);
}

/// Leaves the k first items in order. Elements are compared with the worst of those kept, block by block.
template <class T, class I>
void selectLine(const T* x, const Lines& line, int64_t k, bool largest, std::vector<I>& items) {
  constexpr int64_t kBlock = 64;
  const Order<T> flip = largest ? Order<T>(~Order<T>(0)) : Order<T>(0);
  const size_t room = size_t(2 * k + kBlock);
  Order<T> worst = ~Order<T>(0), block[kBlock];
  items.clear();
  auto shrink = [&] {
    std::nth_element(items.begin(), items.begin() + (k - 1), items.end());
    items.resize(size_t(k));
    worst = Order<T>(keyOf(items[size_t(k - 1)]));
  };
  for (int64_t at = 0; at < line.n; at += kBlock) {
    const int64_t size = std::min(kBlock, line.n - at);
    unsigned any = int64_t(items.size()) < k;
    for (int64_t j = 0; j < size; ++j) block[j] = orderOf(x[(at + j) * line.step]) ^ flip;
    for (int64_t j = 0; j < size; ++j) any |= unsigned(block[j] < worst);
    if (!any) continue;
    for (int64_t j = 0; j < size; ++j)
      if (block[j] < worst || int64_t(items.size()) < k) items.push_back(makeItem<I>(block[j], at + j));
    if (items.size() >= room - kBlock || worst == Order<T>(~Order<T>(0))) {
      if (int64_t(items.size()) > k) shrink();
    }
  }
  if (int64_t(items.size()) > k) shrink();
  std::sort(items.begin(), items.end());
}

/// Calls `f(TypeTag<T>, TypeTag<I>)` with the element type and the kind of items that fit it.
template <class F>
void visitItems(const View& x, int64_t n, F&& f) {
  visitType(x.dtype, [&]<class T>(TypeTag<T> tag) {
    if constexpr (sizeof(Order<T>) == 4) {
      if (n <= int64_t(UINT32_MAX)) return f(tag, TypeTag<Packed>{});
    }
    f(tag, TypeTag<Item>{});
  });
}

}  // namespace

void sort(const View& x, int axis, bool descending, const View& values, const View& indices) {
  const Lines line(x.shape, axis);
  visitItems(x, line.n, [&]<class T, class I>(TypeTag<T>, TypeTag<I>) {
    parallelFor(
        line.count, std::max<int64_t>(1, kGrain / std::max<int64_t>(line.n, 1)), [&](int64_t begin, int64_t end) {
          std::vector<I> items, other;
          for (int64_t i = begin; i < end; ++i) {
            const int64_t at = line.start(i);
            sortLine(x.as<T>() + at, line, descending, values.as<T>() + at, indices.as<int64_t>() + at, items, other);
          }
        });
  });
}

void topK(const View& x, int axis, int64_t k, bool largest, const View& values, const View& indices) {
  const Lines line(x.shape, axis), to(values.shape, axis);
  if (values.size() == 0) return;
  visitItems(x, line.n, [&]<class T, class I>(TypeTag<T>, TypeTag<I>) {
    parallelFor(line.count, std::max<int64_t>(1, kGrain / line.n), [&](int64_t begin, int64_t end) {
      std::vector<I> items;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = to.start(i);
        selectLine(x.as<T>() + line.start(i), line, k, largest, items);
        write(x.as<T>() + line.start(i), line.step, items, k, values.as<T>() + at, indices.as<int64_t>() + at, to.step);
      }
    });
  });
}

}  // namespace anneal::cpu
