#include "warpgroup.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "pending.h"
#include "tensorcore.h"

namespace anneal::emulate {
namespace {

constexpr int kDepth = 16;        // of a product
constexpr unsigned kGroup = 128;  // threads
constexpr uint32_t kPoison = 0x7fc0beef;

/// A matrix in shared memory as its descriptor says: the PTX ISA's canonical layouts.
class Described {
 public:
  Described(uint64_t descriptor, bool byOuter) : byOuter_(byOuter) {
    const auto bytes = [&](int from) { return (descriptor >> from & 0x3fff) << 4; };
    constexpr uint64_t kSpans[] = {16, 128, 64, 32};
    span_ = kSpans[descriptor >> 62];
    leading_ = bytes(16);
    stride_ = bytes(32);
    // Addresses have 18 bits; a block's memory begins anywhere, so that what is added to one may pass 2^18.
    base_ = sharedAddress();
    start_ = base_ + ((bytes(0) - base_) & 0x3ffff);
    if (descriptor >> 49 & 7) misuse("wgmma: the emulator knows no base offset");
    if (descriptor & (3ull << 30 | 7ull << 46 | 0x3ffull << 52)) misuse("wgmma: reserved bits are set");
  }

  /// `outer`: the row of A, or the column of B; `k` is what is summed over.
  uint16_t at(int outer, int k) const {
    uint64_t place =
        start_ + (byOuter_ ? alongOuter(uint64_t(outer), uint64_t(k)) : alongDepth(uint64_t(outer), uint64_t(k)));
    place ^= (place >> 7 & (span_ / 16 - 1)) << 4;
    const uint64_t offset = place - base_;
    if (offset + 2 > memory_.size()) {
      misuse("wgmma: a descriptor leads out of the block's memory");
      return 0;
    }
    uint16_t bits = 0;
    std::memcpy(&bits, memory_.data() + offset, sizeof bits);
    return bits;
  }

 private:
  /// K-major: neighbours along k lie side by side.
  uint64_t alongDepth(uint64_t outer, uint64_t k) const {
    const uint64_t chunk = span_ == 16 ? leading_ : 16;
    return outer % 8 * span_ + outer / 8 * stride_ + k / 8 * chunk + k % 8 * 2;
  }
  /// MN-major.
  uint64_t alongOuter(uint64_t outer, uint64_t k) const {
    const uint64_t chunks = span_ / 16;
    if (chunks == 1) return outer % 8 * 2 + outer / 8 * stride_ + k % 8 * 16 + k / 8 * leading_;
    return outer % 8 * 2 + outer / 8 % chunks * 16 + outer / 8 / chunks * leading_ + k % 8 * span_ + k / 8 * stride_;
  }

  std::span<const std::byte> memory_ = sharedMemory();
  bool byOuter_;
  uint64_t base_, start_, leading_, stride_, span_;
};

/// What is read of an operand, in 64 bits: a warp's rows of A (those in registers are each lane's own), and B.
uint64_t digestOf(const Product& p, int warp) {
  uint64_t sum = 0;
  const auto add = [&](uint64_t v) { sum = (std::rotl(sum, 5) ^ v) * 0x9e3779b97f4a7c15ull; };
  if (p.a)
    for (int i = 0; i < 4; ++i) add(p.a[i]);
  if (lane() != 0) return sum;
  const Described left(p.left, false), right(p.right, p.transposed);
  for (int k = 0; k < kDepth; ++k) {
    for (int column = 0; column < p.columns; ++column) add(right.at(column, k));
    if (!p.a)
      for (int row = 0; row < 16; ++row) add(left.at(16 * warp + row, k));
  }
  return sum;
}

using Rows = std::array<std::array<float, kDepth>, 2>;

/// The two rows of A that a lane has results of.
Rows rowsOf(const Product& p, const uint64_t* all, int warp) {
  Rows rows;
  const int own = lane() / 4;
  const Described left(p.left, false);
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < kDepth; ++k) {
      uint16_t bits = 0;
      if (p.a) {
        const uint32_t* a = broughtBy<Product>(all, own * 4 + k % 8 / 2).a;
        bits = uint16_t(a[half + k / 8 * 2] >> 16 * (k % 2));
      } else {
        bits = left.at(16 * warp + own + 8 * half, k);
      }
      rows[size_t(half)][size_t(k)] = p.element(bits);
    }
  return rows;
}

void poison(float (*c)[4], int columns) {
  for (int j = 0; j < columns / 8; ++j)
    for (int i = 0; i < 4; ++i) c[j][i] = std::bit_cast<float>(kPoison);
}

/// What is summed in c: products that go on with it do so before it is there.
Products::Sum& sumIn(Products& own, const Product& p) {
  auto found = std::find_if(own.sums.begin(), own.sums.end(), [&](const auto& s) { return s.c == p.c; });
  if (found == own.sums.end()) {
    const float* first = &p.c[0][0];
    found = own.sums.insert(found, {p.c, std::vector<float>(first, first + p.columns / 2), own.group});
    poison(p.c, p.columns);
  }
  found->group = own.group;
  if (!p.accumulate) std::fill(found->value.begin(), found->value.end(), 0.0f);
  return *found;
}

void finish(const Products::Sum& sum) {
  for (size_t i = 0; i < sum.value.size(); ++i) {
    float& c = sum.c[i / 4][i % 4];
    if (std::bit_cast<uint32_t>(c) != kPoison) misuse("wgmma: a sum was changed before it was waited for");
    c = sum.value[i];
  }
}

}  // namespace

void multiplyLater(const Product& p) {
  Products& own = pending().products;
  const int warp = int(threadOfBlock() % kGroup / 32);
  if (!own.fenced) misuse("wgmma: registers were used, and no wgmma.fence came after that");
  if (unfenced()) misuse("wgmma: copies to shared memory were not followed by fence.proxy.async before the barrier");
  const uint64_t* all = bring(reinterpret_cast<uint64_t>(&p));
  const Rows rows = rowsOf(p, all, warp);
  const Described right(p.right, p.transposed);
  std::vector<float>& sum = sumIn(own, p).value;
  for (int j = 0; j < p.columns / 8; ++j)
    for (int side = 0; side < 2; ++side)
      for (int k = 0; k < kDepth; ++k) {
        const float b = p.element(right.at(8 * j + lane() % 4 * 2 + side, k));
        for (int half = 0; half < 2; ++half) sum[size_t(4 * j + 2 * half + side)] += rows[size_t(half)][size_t(k)] * b;
      }
  own.operands.push_back({p, warp, digestOf(p, warp), own.group});
  ++own.started;
  syncWarp(kWholeWarp);
}

void fenceOperands() { pending().products.fenced = true; }
void commitProducts() { ++pending().products.group; }

void waitProducts(int groups) {
  Products& own = pending().products;
  own.fenced = false;
  const auto over = [&](const auto& of) { return of.group + uint64_t(groups) < own.group; };
  for (const auto& operand : own.operands)
    if (over(operand) && digestOf(operand.product, operand.warp) != operand.digest)
      misuse("wgmma: an operand was changed before the product was waited for");
  std::erase_if(own.operands, over);
  for (const auto& sum : own.sums)
    if (over(sum)) finish(sum);
  std::erase_if(own.sums, over);
}

void finishAtOnce() {
  Products& own = pending().products;
  for (const auto& sum : own.sums) finish(sum);
  own.sums.clear();
  own.operands.clear();
}

void endProducts(std::span<const Pending> threads) {
  for (size_t t = 0; t < threads.size(); ++t) {
    const Products& own = threads[t].products;
    const size_t first = t / kGroup * kGroup;
    if (!own.sums.empty()) misuse("wgmma: products were not waited for");
    if (own.started > 0 && (first + kGroup > threads.size() || own.started != threads[first].products.started))
      misuse("wgmma: a product was not started by all four warps of a group");
  }
}

}  // namespace anneal::emulate
