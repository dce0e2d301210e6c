// Products with int8 weights: panels of them are packed where they are used, in the order of a plan.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/int8_gemm.cpp"
#include <hwy/foreach_target.h>
//
#include "cpu/int8_tile-inl.h"
#include "cpu/schedule.h"
#include "cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

constexpr int64_t kTaskRows = 96;                    // that a task has at least, so that packing a panel pays
constexpr int kPairLimit = INT16_MAX / kInt8Levels;  // of what four weights in a 16-bit sum may add up to
constexpr int kWaiting = 8;                          // quads that wait for a partner

/// What a plan says of a panel: how many pairs of quads come first, the sum of each column, each quad's place.
struct Plan {
  int32_t pairs;
  int32_t sums[kPanel];
  uint16_t place[1];  // as many as there are quads
};
constexpr int64_t kPlanHead = offsetof(Plan, place);

#if HWY_TARGET != HWY_SCALAR
/// Four rows of four quads, transposed: out[i] gets quad i of all of them.
HWY_INLINE void transposeQuads(const int8_t* in, int64_t stride, int8_t* const (&out)[4]) {
  const hn::FixedTag<int8_t, 16> bytes;
  const hn::FixedTag<uint32_t, 4> quads;
  const hn::FixedTag<uint64_t, 2> pairs;
  auto row = [&](int i) HWY_ATTR { return hn::BitCast(quads, hn::LoadU(bytes, in + i * stride)); };
  const auto r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
  const auto a = hn::BitCast(pairs, hn::InterleaveLower(quads, r0, r1)),
             b = hn::BitCast(pairs, hn::InterleaveLower(quads, r2, r3)),
             c = hn::BitCast(pairs, hn::InterleaveUpper(quads, r0, r1)),
             e = hn::BitCast(pairs, hn::InterleaveUpper(quads, r2, r3));
  hn::StoreU(hn::BitCast(bytes, hn::InterleaveLower(pairs, a, b)), bytes, out[0]);
  hn::StoreU(hn::BitCast(bytes, hn::InterleaveUpper(pairs, a, b)), bytes, out[1]);
  hn::StoreU(hn::BitCast(bytes, hn::InterleaveLower(pairs, c, e)), bytes, out[2]);
  hn::StoreU(hn::BitCast(bytes, hn::InterleaveUpper(pairs, c, e)), bytes, out[3]);
}

#endif

/// One column's quads from `first` on into their places.
template <class Place>
void packColumn(const int8_t* weight, int64_t width, int64_t first, int64_t last, Place&& place, int8_t* to) {
  const int64_t each = (width + 3) / 4;
  for (int64_t q = first; q < last; ++q) {
    const int64_t element = q % each * 4;
    int8_t* const at = to + place(q) * kQuadBytes;
    std::memset(at, 0, 4);
    std::memcpy(at, weight + q / each * width + element, size_t(std::min<int64_t>(4, width - element)));
  }
}

/// Weights as [quad][column][4], each quad at its place; what no weight belongs to is zero. Goes through all columns a
/// line of memory at a time.
template <class Place>
void pack(const int8_t* weight, int64_t taps, int64_t width, int64_t columns, Place&& place, int8_t* to) {
  constexpr int64_t kLine = 16, kAhead = 4 * kLine;  // quads
  const int64_t quads = taps * ((width + 3) / 4), stride = taps * width, end = columns * stride - 1;
  if (columns < kPanel) std::fill(to, to + quads * kQuadBytes, int8_t(0));
  for (int64_t first = 0; first < quads; first += kLine) {
    const int64_t last = std::min(first + kLine, quads);
    // More streams than the processor follows by itself.
    for (int64_t i = 0; i < columns; ++i) hwy::Prefetch(weight + std::min(i * stride + 4 * (first + kAhead), end));
    int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
    if (width % 4 == 0 && last - first == kLine) {
      int8_t* places[kLine];
      for (int64_t i = 0; i < kLine; ++i) places[i] = to + place(first + i) * kQuadBytes;
      for (; c + 4 <= columns; c += 4)
        for (int64_t i = 0; i < kLine; i += 4)
          transposeQuads(weight + c * stride + 4 * (first + i), stride,
                         {places[i] + 4 * c, places[i + 1] + 4 * c, places[i + 2] + 4 * c, places[i + 3] + 4 * c});
    }
#endif
    for (; c < columns; ++c) packColumn(weight + c * stride, width, first, last, place, to + 4 * c);
  }
}

/// Finds pairs of quads whose products fit into 16 bits together, from weights packed in their own order.
void findPairs(const int8_t* packed, int64_t quads, Plan& plan) {
  constexpr int kLanes = kQuadBytes / 2;
  uint16_t* lanes = workspace<uint16_t>(Purpose::Scores, size_t(quads) * kLanes);
  std::fill(plan.sums, plan.sums + kPanel, 0);
  for (int64_t q = 0; q < quads; ++q) {
    const int8_t* w = packed + q * kQuadBytes;
    for (int i = 0; i < kLanes; ++i) lanes[q * kLanes + i] = uint16_t(std::abs(w[2 * i]) + std::abs(w[2 * i + 1]));
    for (int c = 0; c < kPanel; ++c) plan.sums[c] += w[4 * c] + w[4 * c + 1] + w[4 * c + 2] + w[4 * c + 3];
  }
  auto fit = [&](int64_t a, int64_t b) {
    const uint16_t *x = lanes + a * kLanes, *y = lanes + b * kLanes;
    uint16_t most = 0;
    for (int i = 0; i < kLanes; ++i) most = std::max<uint16_t>(most, uint16_t(x[i] + y[i]));
    return most <= kPairLimit;
  };
  int64_t waiting[kWaiting], count = 0, last = quads;
  plan.pairs = 0;
  for (int64_t q = 0; q < quads; ++q) {
    int64_t* const end = waiting + count;
    int64_t* const partner = std::find_if(waiting, end, [&](int64_t other) { return fit(q, other); });
    if (partner != end) {
      plan.place[*partner] = uint16_t(2 * plan.pairs);
      plan.place[q] = uint16_t(2 * plan.pairs + 1);
      ++plan.pairs;
      *partner = waiting[--count];
    } else if (count < kWaiting) {
      waiting[count++] = q;
    } else {
      plan.place[waiting[q % kWaiting]] = uint16_t(--last);
      waiting[q % kWaiting] = q;
    }
  }
  for (int64_t i = 0; i < count; ++i) plan.place[waiting[i]] = uint16_t(--last);
}

void planPanel(const int8_t* weight, int64_t taps, int64_t width, int64_t columns, Plan& plan) {
  const int64_t quads = taps * ((width + 3) / 4);
  int8_t* packed = workspace<int8_t>(Purpose::PackedA, size_t(quads * kQuadBytes));
  pack(
      weight, taps, width, columns, [](int64_t q) { return q; }, packed);
  findPairs(packed, quads, plan);
}

void planAt(const int8_t* weight, int64_t columns, int64_t taps, int64_t width, int32_t* plans) {
  const int64_t size = int8PlanSize(taps, width);
  parallelTasks(int8Panels(columns), [&](int64_t i) {
    planPanel(weight + i * kPanel * taps * width, taps, width, std::min<int64_t>(kPanel, columns - i * kPanel),
              *reinterpret_cast<Plan*>(plans + i * size));
  });
}

#if HWY_TARGET == HWY_SCALAR
void multiplyAt(const int8::Product& p) {
  parallelFor(p.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) plainRow(p, row);
  });
}
#else
/// Panel `index` of a product, packed into this thread's working memory.
Panel panelOf(const int8::Product& p, int64_t index) {
  const auto taps = int64_t(p.taps.size());
  const int64_t quads = p.quads(), each = (p.width + 3) / 4, size = int8PlanSize(taps, p.width);
  const int64_t first = index * kPanel, columns = std::min<int64_t>(kPanel, p.columns - first);
  const int8_t* weight = p.weight + first * taps * p.width;
  const auto* plan = reinterpret_cast<const Plan*>(p.plan + index * size);
  if (!p.plan) {
    auto* own = reinterpret_cast<Plan*>(workspace<int32_t>(Purpose::Weights, size_t(size)));
    planPanel(weight, taps, p.width, columns, *own);
    plan = own;
  }
  int8_t* packed = workspace<int8_t>(Purpose::PackedB, size_t(quads * kQuadBytes));
  int64_t* offsets = workspace<int64_t>(Purpose::Primitive, size_t(quads));
  pack(
      weight, taps, p.width, columns, [plan](int64_t q) { return int64_t(plan->place[q]); }, packed);
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int64_t i = 0; i < each; ++i) offsets[plan->place[tap * each + i]] = p.taps[size_t(tap)] + 4 * i;
  Panel panel{packed, offsets, plan->pairs, quads, first, columns, {}, {}, {}, {}};
  std::copy(plan->sums, plan->sums + kPanel, panel.sums);
  std::copy(p.scale + first, p.scale + first + columns, panel.scale);
  if (p.bias) std::copy(p.bias + first, p.bias + first + columns, panel.bias);
  return panel;
}

template <class By>
void panels(const int8::Product& p) {
  const int64_t count = int8Panels(p.columns);
  const int64_t most = std::max<int64_t>(1, p.rows / kTaskRows);
  const int64_t parts = std::clamp<int64_t>((4 * threads() + count - 1) / count, 1, most);
  const int64_t size = kPanel * int64_t(p.taps.size()) * p.width, ahead = std::max<int64_t>(1, threads() / parts);
  parallelTasks(count * parts, [&](int64_t task) {
    const int64_t part = task % parts, index = task / parts;
    Panel panel = panelOf(p, index);
    if (index + ahead < count - 1) panel.next = {p.weight + (index + ahead) * size, size_t(size)};
    rowsByPanel<By>(p, panel, p.rows * part / parts, p.rows * (part + 1) / parts);
  });
}

template <class By, int R>
void dots(const int8::Product& p) {
  constexpr int64_t C = 4;
  const int64_t whole = p.columns / C;
  parallelFor(whole, 1 + 65536 / (C * p.width + 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dotTile<By, R, C>(p, 0, C * i);
  });
  for (int64_t c = C * whole; c < p.columns; ++c) dotTile<By, R, 1>(p, 0, c);
}

template <class By>
void multiplyBy(const int8::Product& p) {
  const int64_t whole = (p.width + HWY_MAX_BYTES - 1) / HWY_MAX_BYTES * HWY_MAX_BYTES;
  if (p.rows > kInt8FewRows || p.taps.size() != 1 || p.readable < whole) return panels<By>(p);
  if (p.rows == 1) return dots<By, 1>(p);
  if (p.rows == 2) return dots<By, 2>(p);
  if (p.rows == 3) return dots<By, 3>(p);
  dots<By, 4>(p);
}

void multiplyAt(const int8::Product& p) {
#if HWY_TARGET == HWY_AVX3
  static const bool vnni = __builtin_cpu_supports("avx512vnni");
  if (vnni) return multiplyBy<InQuads>(p);
#endif
  multiplyBy<InPairs>(p);
}
#endif

int64_t planSizeAt(int64_t quads) { return (kPlanHead + 2 * quads + 3) / 4; }
int64_t panelsAt(int64_t columns) { return (columns + kPanel - 1) / kPanel; }

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {
HWY_EXPORT(multiplyAt);
HWY_EXPORT(planAt);

namespace int8 {
void multiply(const Product& p) {
  if (p.rows > 0 && p.columns > 0) HWY_DYNAMIC_DISPATCH(multiplyAt)(p);
}
}  // namespace int8

int64_t int8PlanSize(int64_t taps, int64_t width) { return HWY_STATIC_DISPATCH(planSizeAt)(taps * ((width + 3) / 4)); }
int64_t int8Panels(int64_t columns) { return HWY_STATIC_DISPATCH(panelsAt)(columns); }

void int8Plan(const View& weight, int64_t taps, int64_t width, const View& plan) {
  if (plan.size() == 0) return;
  HWY_DYNAMIC_DISPATCH(planAt)(weight.as<int8_t>(), weight.shape[0], taps, width, plan.as<int32_t>());
}

}  // namespace anneal::cpu
#endif
