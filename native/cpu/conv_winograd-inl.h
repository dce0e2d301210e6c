// The transforms of Winograd's convolution F(4 x 4, 3 x 3), compiled once for each instruction set.
#if defined(ANNEAL_CPU_CONV_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNEAL_CPU_CONV_WINOGRAD_INL_H_
#undef ANNEAL_CPU_CONV_WINOGRAD_INL_H_
#else
#define ANNEAL_CPU_CONV_WINOGRAD_INL_H_
#endif

#include "cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace anneal::cpu::HWY_NAMESPACE {
namespace winograd {

constexpr int kOut = 4, kIn = 6, kPoints = kIn * kIn;  // a square of results comes from a square of the image
constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;  // the points but 0 and infinity, and minus them

using Float = hn::ScalableTag<float>;
using Vec = hn::Vec<Float>;
constexpr int L = kLanes<float>;

/// B^T d for one line of six.
HWY_INLINE void transformIn(const Vec (&d)[kIn], Vec (&v)[kIn]) {
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

/// A^T m for one line of six.
HWY_INLINE void transformOut(const Vec (&m)[kIn], Vec (&y)[kOut]) {
  const Float f;
  const Vec evenA = hn::Add(m[1], m[2]), oddA = hn::Sub(m[1], m[2]), evenB = hn::Add(m[3], m[4]),
            oddB = hn::Sub(m[3], m[4]);
  y[0] = hn::Add(m[0], hn::Add(evenA, evenB));
  y[1] = hn::MulAdd(hn::Set(f, kA), oddA, hn::Mul(hn::Set(f, kB), oddB));
  y[2] = hn::MulAdd(hn::Set(f, 0.5f), evenA, hn::Mul(hn::Set(f, 2.0f), evenB));
  y[3] = hn::MulAdd(hn::Set(f, 0.5f * kA), oddA, hn::MulAdd(hn::Set(f, 2 * kB), oddB, m[5]));
}

/// G g for one line of three.
HWY_INLINE void transformWeight(const Vec (&g)[3], Vec (&u)[kIn]) {
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

/// A vector of the weights of channels out, `from` [3, 3, channels in, kChannels] on, for all points.
HWY_INLINE void transformWeights(const float* from, int64_t tap, float* to, int64_t point) {
  const Float d;
  Vec half[kIn][3];
  for (int w = 0; w < 3; ++w) {
    Vec line[3], done[kIn];
    for (int h = 0; h < 3; ++h) line[h] = hn::LoadU(d, from + (h * 3 + w) * tap);
    transformWeight(line, done);
    for (int h = 0; h < kIn; ++h) half[h][w] = done[h];
  }
  for (int h = 0; h < kIn; ++h) {
    Vec done[kIn];
    transformWeight(half[h], done);
    for (int w = 0; w < kIn; ++w) hn::StoreU(done[w], d, to + (h * kIn + w) * point);
  }
}

}  // namespace winograd
}  // namespace anneal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
