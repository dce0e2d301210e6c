// Plans of reductions; see reduce.cuh.
#include "reduce.cuh"

namespace anneal::cuda {
namespace {

struct Axis {
  int64_t size, from, to;
};

/// Takes axes together that follow each other without gaps on both sides.
std::vector<Axis> joined(const std::vector<Axis>& axes) {
  std::vector<Axis> out;
  for (const Axis& a : axes) {
    if (a.size == 1) continue;
    if (!out.empty() && out.back().from == a.from * a.size && out.back().to == a.to * a.size)
      out.back() = {out.back().size * a.size, a.from, a.to};
    else out.push_back(a);
  }
  return out;
}

/// The order of memory, the largest steps first; what is repeated counts as far apart.
void sortByStep(std::vector<Axis>& axes) {
  const auto distance = [](const Axis& a) { return a.from == 0 ? INT64_MAX : std::abs(a.from); };
  std::stable_sort(axes.begin(), axes.end(), [&](const Axis& a, const Axis& b) { return distance(a) > distance(b); });
}

template <int N>
Walk<N, int64_t> walkOf(const std::vector<Axis>& axes) {
  Walk<N, int64_t> walk;
  for (auto a = axes.rbegin(); a != axes.rend(); ++a) {
    walk.size[walk.rank] = Divider(uint32_t(a->size));
    walk.stride[walk.rank][0] = a->from;
    if constexpr (N > 1) walk.stride[walk.rank][1] = a->to;
    ++walk.rank;
  }
  return walk;
}

int64_t sizeOf(const std::vector<Axis>& axes) {
  int64_t n = 1;
  for (const Axis& a : axes) n *= a.size;
  return n;
}

}  // namespace

Reducing reducingOf(const View& x, const Ints& axes, bool ordered) {
  std::vector<Axis> kept, reduced;
  Reducing r;
  int64_t to = 1;
  for (int i = x.shape.rank() - 1; i >= 0; --i) {
    const bool gone = std::find(axes.begin(), axes.end(), i) != axes.end();
    (gone ? r.count : r.results) *= x.shape[i];
    auto& list = gone ? reduced : kept;
    list.insert(list.begin(), {x.shape[i], x.strides[i], gone ? 0 : to});
    if (!gone) to *= x.shape[i];
  }
  if (r.results == 0) return r;
  if (r.count == 0) reduced.clear();
  sortByStep(kept);
  if (!ordered) sortByStep(reduced);
  // What a reduced axis leads to does not count when axes are joined.
  kept = joined(kept);
  reduced = joined(reduced);
  r.even = reduced.size() <= 1;
  constexpr int64_t kMost = int64_t(1) << 31;
  require(sizeOf(kept) < kMost && (r.even || sizeOf(reduced) < kMost), Code::Shape, "cuda: a reduction of ", x.shape,
          " has more than 2^31 results, or elements of a result that do not lie at equal distances");
  r.step = reduced.empty() ? 0 : reduced.back().from;
  r.columns = !kept.empty() && !reduced.empty() && kept.back().size >= 8 &&
              std::abs(kept.back().from) < std::abs(reduced.back().from);
  r.kept = walkOf<2>(kept);
  if (!r.even) r.reduced = walkOf<1>(reduced);
  return r;
}

namespace {

/// Into how many pieces a result's elements are cut.
int64_t piecesOf(const Reducing& r, bool blocks) {
  constexpr int64_t kBlocksPerProcessor = 8, kLeastOfBlock = 4096, kLeastOfColumn = 256;
  if (!blocks && !r.columns) return 1;
  const int64_t wanted = kBlocksPerProcessor * current().multiprocessors();
  const int64_t groups = r.columns ? (r.results + kWarp - 1) / kWarp : r.results;
  const int64_t most = std::min<int64_t>(r.count / (r.columns ? kLeastOfColumn : kLeastOfBlock), 65535);
  return std::max<int64_t>(1, std::min((wanted + groups - 1) / groups, most));
}

}  // namespace

Shares sharesOf(const Reducing& r) {
  const bool block = !r.columns && r.count > kMostOfWarp;
  const int64_t together = r.rows() ? kTogether : 1;
  Shares s{.results = r.results, .count = r.count, .pieces = piecesOf(r, block), .piece = 0, .bits = 0};
  s.piece = (r.count + s.pieces - 1) / s.pieces;
  s.piece = (s.piece + together - 1) / together * together;
  const int64_t most = block ? kReduceThreads : kWarp;
  while (1 << s.bits < most && together << s.bits < r.count) ++s.bits;
  return s;
}

Shares sharesOfRows(int64_t rows, int64_t width) {
  Reducing r;
  r.results = rows;
  r.count = width;
  r.step = 1;
  r.even = true;
  return sharesOf(r);
}

}  // namespace anneal::cuda
