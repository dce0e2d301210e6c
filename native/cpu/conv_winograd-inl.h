// The transforms of Winograd's convolutions F(4 x 4, 3 x 3) and F(2 x 2, 3 x 3), compiled once for each instruction
// set. A function's arrays tell the two apart: six points on a line, or four.
#if defined(ANNEAL_CPU_CONV_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_CONV_WINOGRAD_INL_H_
#undef ANNEAL_CPU_CONV_WINOGRAD_INL_H_
#else
#define ANNEAL_CPU_CONV_WINOGRAD_INL_H_
#endif

#include "cpu/conv.h"
#include "cpu/gemm-inl.h"
#include "cpu/schedule.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace winograd {

/// A square of Out x Out results comes from a square of kIn x kIn of the image, by as many points.
template <int Out>
struct Sides {
  static constexpr int kOut = Out, kIn = Out + 2, kPoints = kIn * kIn;
};
constexpr int kTaps = 3;
constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;  // six points but 0 and infinity, and minus them

using Float = hn::ScalableTag<float>;
using Vec = hn::Vec<Float>;
constexpr int L = kLanes<float>;
constexpr int N = kColumns<float>;

constexpr int64_t kDepth = 256;                  // of a product: a panel of this depth fits into half of the L1
constexpr int64_t kTogether = 20 * 1024 * 1024;  // bytes of transformed squares that all threads take together

/// Squares of the result, counted over the batch.
template <int Out>
struct Squares : Sides<Out> {
  using Sides<Out>::kOut, Sides<Out>::kIn, Sides<Out>::kPoints;
  explicit Squares(const ConvShape& s)
      : s(s),
        down(ceilDiv(s.out[1], kOut)),
        across(ceilDiv(s.out[2], kOut)),
        count(s.batch * s.in[0] * down * across) {}

  /// The image's pixels under square `i`; `zeros` outside of the image.
  void pixels(int64_t i, const float* x, const float* zeros, const float* (&at)[kPoints]) const {
    const int64_t left = i % across * kOut - s.before[2], top = i / across % down * kOut - s.before[1];
    const int64_t image = i / (across * down);
    for (int64_t h = 0; h < kIn; ++h)
      for (int64_t w = 0; w < kIn; ++w) {
        const bool inside = uint64_t(top + h) < uint64_t(s.in[1]) && uint64_t(left + w) < uint64_t(s.in[2]);
        at[h * kIn + w] = inside ? x + ((image * s.in[1] + top + h) * s.in[2] + left + w) * s.inChannels : zeros;
      }
  }

  /// The result's pixels of square `i`; `zeros` outside.
  void results(int64_t i, const float* y, const float* zeros, const float* (&at)[kOut * kOut]) const {
    const int64_t left = i % across * kOut, top = i / across % down * kOut, image = i / (across * down);
    for (int64_t h = 0; h < kOut; ++h)
      for (int64_t w = 0; w < kOut; ++w) {
        const bool inside = top + h < s.out[1] && left + w < s.out[2];
        at[h * kOut + w] = inside ? y + ((image * s.out[1] + top + h) * s.out[2] + left + w) * s.outChannels : zeros;
      }
  }
  const ConvShape& s;
  int64_t down, across, count;
};

/// B^T d for one line.
HWY_INLINE void transformIn(const Vec (&d)[6], Vec (&v)[6]) {
  const Float f;
  const Vec two = hn::Set(f, 2.0f), half = hn::Set(f, 0.5f), both = hn::Set(f, 2.5f), a = hn::Set(f, kA),
            b = hn::Set(f, kB);
  v[0] = hn::Add(hn::NegMulAdd(both, d[2], d[0]), d[4]);
  const Vec evenA = hn::NegMulAdd(two, d[2], d[4]), oddA = hn::NegMulAdd(two, d[1], d[3]);
  v[1] = hn::MulAdd(a, oddA, evenA);
  v[2] = hn::NegMulAdd(a, oddA, evenA);
  const Vec evenB = hn::NegMulAdd(half, d[2], d[4]), oddB = hn::NegMulAdd(half, d[1], d[3]);
  v[3] = hn::MulAdd(b, oddB, evenB);
  v[4] = hn::NegMulAdd(b, oddB, evenB);
  v[5] = hn::Add(hn::NegMulAdd(both, d[3], d[1]), d[5]);
}

HWY_INLINE void transformIn(const Vec (&d)[4], Vec (&v)[4]) {
  v[0] = hn::Sub(d[0], d[2]);
  v[1] = hn::Add(d[1], d[2]);
  v[2] = hn::Sub(d[2], d[1]);
  v[3] = hn::Sub(d[1], d[3]);
}

/// A^T m for one line.
HWY_INLINE void transformOut(const Vec (&m)[6], Vec (&y)[4]) {
  const Float f;
  const Vec evenA = hn::Add(m[1], m[2]), oddA = hn::Sub(m[1], m[2]), evenB = hn::Add(m[3], m[4]),
            oddB = hn::Sub(m[3], m[4]);
  y[0] = hn::Add(m[0], hn::Add(evenA, evenB));
  y[1] = hn::MulAdd(hn::Set(f, kA), oddA, hn::Mul(hn::Set(f, kB), oddB));
  y[2] = hn::MulAdd(hn::Set(f, 0.5f), evenA, hn::Mul(hn::Set(f, 2.0f), evenB));
  y[3] = hn::MulAdd(hn::Set(f, 0.5f * kA), oddA, hn::MulAdd(hn::Set(f, 2 * kB), oddB, m[5]));
}

HWY_INLINE void transformOut(const Vec (&m)[4], Vec (&y)[2]) {
  y[0] = hn::Add(m[0], hn::Add(m[1], m[2]));
  y[1] = hn::Sub(hn::Sub(m[1], m[2]), m[3]);
}

/// G g for one line.
HWY_INLINE void transformWeight(const Vec (&g)[kTaps], Vec (&u)[6]) {
  const Float f;
  const Vec evenA = hn::Mul(hn::Set(f, -2.0f / 3), hn::MulAdd(hn::Set(f, 0.5f), g[2], g[0])),
            oddA = hn::Mul(hn::Set(f, -2.0f / 3 * kA), g[1]),
            evenB = hn::Mul(hn::Set(f, 1.0f / 6), hn::MulAdd(hn::Set(f, 2.0f), g[2], g[0])),
            oddB = hn::Mul(hn::Set(f, kB / 6), g[1]);
  u[0] = g[0];
  u[1] = hn::Add(evenA, oddA);
  u[2] = hn::Sub(evenA, oddA);
  u[3] = hn::Add(evenB, oddB);
  u[4] = hn::Sub(evenB, oddB);
  u[5] = g[2];
}

HWY_INLINE void transformWeight(const Vec (&g)[kTaps], Vec (&u)[4]) {
  const Vec half = hn::Set(Float(), 0.5f), even = hn::Mul(half, hn::Add(g[0], g[2]));
  u[0] = g[0];
  u[1] = hn::MulAdd(half, g[1], even);
  u[2] = hn::NegMulAdd(half, g[1], even);
  u[3] = g[2];
}

/// G^T m for one line: transposes transformWeight.
HWY_INLINE void transformSums(const Vec (&m)[6], Vec (&g)[kTaps]) {
  const Float f;
  const Vec evenA = hn::Add(m[1], m[2]), oddA = hn::Sub(m[1], m[2]), evenB = hn::Add(m[3], m[4]),
            oddB = hn::Sub(m[3], m[4]);
  g[0] = hn::MulAdd(hn::Set(f, -2.0f / 3), evenA, hn::MulAdd(hn::Set(f, 1.0f / 6), evenB, m[0]));
  g[1] = hn::MulAdd(hn::Set(f, -2.0f / 3 * kA), oddA, hn::Mul(hn::Set(f, kB / 6), oddB));
  g[2] = hn::MulAdd(hn::Set(f, 1.0f / 3), hn::Sub(evenB, evenA), m[5]);
}

/// A y for one line: transposes transformOut.
HWY_INLINE void transformResult(const Vec (&y)[4], Vec (&m)[6]) {
  const Float f;
  const Vec half = hn::Set(f, 0.5f), two = hn::Set(f, 2.0f), a = hn::Set(f, kA), b = hn::Set(f, kB);
  const Vec evenA = hn::MulAdd(half, y[2], y[0]), oddA = hn::MulAdd(half, y[3], y[1]);
  const Vec evenB = hn::MulAdd(two, y[2], y[0]), oddB = hn::MulAdd(two, y[3], y[1]);
  m[0] = y[0];
  m[1] = hn::MulAdd(a, oddA, evenA);
  m[2] = hn::NegMulAdd(a, oddA, evenA);
  m[3] = hn::MulAdd(b, oddB, evenB);
  m[4] = hn::NegMulAdd(b, oddB, evenB);
  m[5] = y[3];
}

/// Transforms the columns and then the lines of From x From vectors get(i) to To x To vectors, which put(i, vector)
/// takes.
template <int From, int To, class Get, class Put>
HWY_INLINE void transformSquare(void (*transform)(const Vec (&)[From], Vec (&)[To]), Get&& get, Put&& put) {
  Vec half[To][From];
  for (int w = 0; w < From; ++w) {
    Vec line[From], done[To];
    for (int h = 0; h < From; ++h) line[h] = get(h * From + w);
    transform(line, done);
    for (int h = 0; h < To; ++h) half[h][w] = done[h];
  }
  for (int h = 0; h < To; ++h) {
    Vec done[To];
    transform(half[h], done);
    for (int w = 0; w < To; ++w) put(h * To + w, done[w]);
  }
}

/// The same from channel `c` of the pixels `at` to every point of `to`.
template <int From, int To>
HWY_INLINE void transformPixels(void (*transform)(const Vec (&)[From], Vec (&)[To]), const float* const* at, int64_t c,
                                float* to, int64_t point) {
  const Float d;
  transformSquare<From, To>(
      transform, [&](int i) { return hn::LoadU(d, at[i] + c); },
      [&](int i, Vec value) { hn::StoreU(value, d, to + i * point); });
}

}  // namespace winograd
}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
