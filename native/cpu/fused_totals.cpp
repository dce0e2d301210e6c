#include "cpu/fused_totals.h"

#include "cpu/fused_tiles.h"
#include "cpu/parallel.h"
#include "cpu/schedule.h"

namespace anneal::cpu {
namespace {

constexpr int64_t kGrain = 16384;

/// What all ways share.
struct Work {
  const Chain& chain;
  const Totals& totals;
  const std::vector<Source> sources;
  int64_t rows;
  std::span<const View> out;
  const View& result;

  Reduction reduction() const { return {totals.reducer, totals.finish, totals.number}; }
};

/// Rows that fit into a tile, several of them at a time.
void shortRows(const Work& w) {
  const RowsLoop loop = reducing(w.totals.reducer).rows.of(w.chain.compute);
  const int64_t width = w.totals.width, high = kTile / width;
  parallelFor(ceilDiv(w.rows, high), kGrain / kTile, [&](int64_t begin, int64_t end) {
    Tiles tiles(w.chain, w.sources, w.out);
    std::vector<double> totals(static_cast<size_t>(high));
    for (int64_t row = begin * high; row < std::min(w.rows, end * high); row += high) {
      const int64_t count = std::min(high, w.rows - row);
      tiles.run({.begin = row * width, .width = count * width});
      std::fill(totals.begin(), totals.end(), initialTotal<double>(w.totals.reducer));
      loop(tiles.at(w.totals.of), width, count, width, nullptr, totals.data());
      writeTotals(w.reduction(), totals.data(), count, w.result, row);
    }
  });
}

/// Longer rows, each in pieces that threads share: those of `reduce`.
void longRows(const Work& w) {
  const TileLoop loop = reducing(w.totals.reducer).tile.of(w.chain.compute);
  const int64_t width = w.totals.width, pieces = piecesOf(w.rows, width);
  std::vector<double> totals(size_t(w.rows * pieces), initialTotal<double>(w.totals.reducer));
  parallelFor(w.rows * pieces, std::max<int64_t>(1, kGrain * pieces / width), [&](int64_t begin, int64_t end) {
    Tiles tiles(w.chain, w.sources, w.out);
    for (int64_t i = begin; i < end; ++i) {
      const auto [first, last] = pieceOf(i % pieces, pieces, width);
      for (int64_t at = first; at < last; at += kTile) {
        const int64_t n = std::min(kTile, last - at);
        tiles.run({.begin = i / pieces * width + at, .width = n});
        loop(tiles.at(w.totals.of), 1, n, 1, nullptr, &totals[size_t(i)]);
      }
    }
  });
  for (int64_t r = 0; r < w.rows; ++r) {
    double* total = &totals[size_t(r * pieces)];
    for (int64_t p = 1; p < pieces; ++p) total[0] = mergeTotals(w.totals.reducer, total[0], total[p]);
    writeTotals(w.reduction(), total, 1, w.result, r);
  }
}

}  // namespace

bool totalsLikeReduce(int64_t rows, int64_t width) {
  return rows == 1 || (width >= kLeastRow && width <= kTile) || width > kMaxRow;
}

void runTotals(const Chain& chain, const Totals& totals, const Shape& shape, std::span<const View> in,
               std::span<const View> out, const View& result) {
  const Work w{chain, totals, sourcesOf(chain, in, shape), shape.product() / totals.width, out, result};
  if (w.rows > 1 && totals.width <= kTile) shortRows(w);
  else longRows(w);
}

}  // namespace anneal::cpu
