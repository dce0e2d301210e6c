#include "cpu/reduce.h"

#include <algorithm>

#include "cpu/convert.h"
#include "cpu/parallel.h"

namespace anneal::cpu {

void sum(const View& x, const Ints& axes, const View& out) {
  Shape kept, reduced;
  Strides keptStrides, reducedStrides;
  for (int i = 0; i < x.shape.rank(); ++i) {
    bool isReduced = std::find(axes.begin(), axes.end(), i) != axes.end();
    (isReduced ? reduced : kept).push(x.shape[i]);
    (isReduced ? reducedStrides : keptStrides).push(x.strides[i]);
  }
  visitType(x.dtype, [&]<class T>(TypeTag<T>) {
    using Sum = std::conditional_t<std::is_same_v<T, double>, double, std::conditional_t<std::is_integral_v<T>, int64_t, float>>;
    visitType(out.dtype, [&]<class R>(TypeTag<R>) {
      parallelFor(kept.product(), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, reduced.product())), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          int64_t base = 0, rest = i;
          for (int a = kept.rank() - 1; a >= 0; --a) base += rest % kept[a] * keptStrides[a], rest /= kept[a];
          Sum total = 0;
          for (int64_t j = 0, n = reduced.product(); j < n; ++j) {
            int64_t at = base, left = j;
            for (int a = reduced.rank() - 1; a >= 0; --a) at += left % reduced[a] * reducedStrides[a], left /= reduced[a];
            total += convertTo<Sum>(x.as<T>()[at]);
          }
          out.as<R>()[i] = convertTo<R>(total);
        }
      });
    });
  });
}

}  // namespace anneal::cpu
