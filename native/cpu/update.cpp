#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/update.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <array>

#include "cpu/chunks.h"
#include "cpu/convert.h"
#include "cpu/update.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {

constexpr int64_t kChunk = 8192;  // elements: several arrays of them stay in the second-level cache
constexpr int64_t kTile = 512;

template <class R, class C>
void applyRule(const R& given, const Clip& clip, const C* p, const C* g, const C* const* s, C* pOut, C* const* sOut,
               int64_t n) {
  const R rule = given;  // a copy of its own: the compiler knows then that no store changes it
  const auto scale = C(clip.scale), most = C(clip.limit), least = -most;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    C state[R::states + 1];
    for (int k = 0; k < R::states; ++k) state[k] = s[k][i];
    // What is not a number stays so.
    const C low = g[i] < least ? least : g[i], limited = low > most ? most : low;
    pOut[i] = rule(p[i], limited * scale, state);
    for (int k = 0; k < R::states; ++k) sOut[k][i] = state[k];
  }
}

/// One stretch of one tensor. Arrays of states have a place more: a rule may have none. T is the parameter's type, C
/// the type computed in, which is the states'.
template <class R, class T, class C>
void updateChunk(const R& rule, const Clip& clip, const View* const* in, const View* const* out, int64_t begin,
                 int64_t n) {
  const C* s[R::states + 1];
  C* sOut[R::states + 1];
  for (int k = 0; k < R::states; ++k) s[k] = in[2 + k]->as<C>() + begin;
  for (int k = 0; k < R::states; ++k) sOut[k] = out[1 + k]->as<C>() + begin;
  const T *p = in[0]->as<T>() + begin, *g = in[1]->as<T>() + begin;
  T* pOut = out[0]->as<T>() + begin;
  if constexpr (std::is_same_v<T, C>) {
    applyRule<R, C>(rule, clip, p, g, s, pOut, sOut, n);
  } else {
    C tile[2][kTile];
    for (int64_t at = 0; at < n; at += kTile) {
      int64_t size = std::min(kTile, n - at);
      convertStrided(p + at, 1, tile[0], 1, size);
      convertStrided(g + at, 1, tile[1], 1, size);
      const C* si[R::states + 1];
      C* so[R::states + 1];
      for (int k = 0; k < R::states; ++k) si[k] = s[k] + at, so[k] = sOut[k] + at;
      applyRule<R, C>(rule, clip, tile[0], tile[1], si, tile[0], so, size);
      convertStrided(tile[0], 1, pOut + at, 1, size);
    }
  }
}

template <class R>
void updateAll(const R& rule, const Clip& clip, std::span<const View> in, std::span<const View> out) {
  const size_t count = in.size() / (2 + R::states);
  forEachChunk(in.first(count), kChunk, [&](size_t, const Chunk& chunk) {
    std::array<const View*, 2 + R::states> from;
    std::array<const View*, 1 + R::states> to;
    for (size_t k = 0; k < from.size(); ++k) from[k] = &in[k * count + chunk.tensor];
    for (size_t k = 0; k < to.size(); ++k) to[k] = &out[k * count + chunk.tensor];
    visitType(from[0]->dtype, [&]<class T>(TypeTag<T>) {
      if constexpr (std::is_same_v<T, double>)
        updateChunk<R, T, double>(rule, clip, from.data(), to.data(), chunk.begin, chunk.n);
      else if constexpr (!std::is_integral_v<T>)
        updateChunk<R, T, float>(rule, clip, from.data(), to.data(), chunk.begin, chunk.n);
    });
  });
}

using Views = std::span<const View>;
void descent(const rules::Descent& r, const Clip& c, Views in, Views out) { updateAll(r, c, in, out); }
void sgd(const rules::Sgd& r, const Clip& c, Views in, Views out) { updateAll(r, c, in, out); }
void adam(const rules::Adam& r, const Clip& c, Views in, Views out) { updateAll(r, c, in, out); }
void rmsProp(const rules::RmsProp& r, const Clip& c, Views in, Views out) { updateAll(r, c, in, out); }
void adagrad(const rules::Adagrad& r, const Clip& c, Views in, Views out) { updateAll(r, c, in, out); }
void adadelta(const rules::Adadelta& r, const Clip& c, Views in, Views out) { updateAll(r, c, in, out); }
void lion(const rules::Lion& r, const Clip& c, Views in, Views out) { updateAll(r, c, in, out); }
void lamb(const rules::LambDirection& r, const Clip& c, Views in, Views out) { updateAll(r, c, in, out); }

}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anneal::cpu {

HWY_EXPORT(descent);
HWY_EXPORT(sgd);
HWY_EXPORT(adam);
HWY_EXPORT(rmsProp);
HWY_EXPORT(adagrad);
HWY_EXPORT(adadelta);
HWY_EXPORT(lion);
HWY_EXPORT(lamb);

using Views = std::span<const View>;
void update(const rules::Descent& r, const Clip& c, Views in, Views out) {
  HWY_DYNAMIC_DISPATCH(descent)(r, c, in, out);
}
void update(const rules::Sgd& r, const Clip& c, Views in, Views out) { HWY_DYNAMIC_DISPATCH(sgd)(r, c, in, out); }
void update(const rules::Adam& r, const Clip& c, Views in, Views out) { HWY_DYNAMIC_DISPATCH(adam)(r, c, in, out); }
void update(const rules::RmsProp& r, const Clip& c, Views in, Views out) {
  HWY_DYNAMIC_DISPATCH(rmsProp)(r, c, in, out);
}
void update(const rules::Adagrad& r, const Clip& c, Views in, Views out) {
  HWY_DYNAMIC_DISPATCH(adagrad)(r, c, in, out);
}
void update(const rules::Adadelta& r, const Clip& c, Views in, Views out) {
  HWY_DYNAMIC_DISPATCH(adadelta)(r, c, in, out);
}
void update(const rules::Lion& r, const Clip& c, Views in, Views out) { HWY_DYNAMIC_DISPATCH(lion)(r, c, in, out); }
void update(const rules::LambDirection& r, const Clip& c, Views in, Views out) {
  HWY_DYNAMIC_DISPATCH(lamb)(r, c, in, out);
}

}  // namespace anneal::cpu
#endif
