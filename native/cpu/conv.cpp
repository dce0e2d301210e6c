#include "cpu/conv.h"

#include <hwy/targets.h>

#include <array>

#include "cpu/convert.h"
#include "cpu/copy.h"
#include "cpu/parallel.h"
#include "cpu/workspace.h"

namespace anneal::cpu {
namespace {

/// The same convolution over three spatial axes.
ConvShape expanded(ConvShape s) {
  while (s.rank() < 3) {
    for (Dims* d : {&s.in, &s.out, &s.kernel, &s.stride, &s.dilation}) d->insert(0, 1);
    s.before.insert(0, 0);
    s.after.insert(0, 0);
  }
  return s;
}

template <class From, class To>
void convertAll(const From* from, To* to, int64_t n) {
  parallelFor(n, 32768,
              [&](int64_t begin, int64_t end) { convertStrided(from + begin, 1, to + begin, 1, end - begin); });
}

/// 16-bit data as float32, in working memory.
const float* widened(const View& v, Purpose purpose) {
  if (!v.defined) return nullptr;
  float* to = workspace<float>(purpose, size_t(v.size()));
  if (v.dtype == DType::Float16) convertAll(v.as<Half>(), to, v.size());
  else convertAll(v.as<BFloat16>(), to, v.size());
  return to;
}

void narrow(const float* from, const View& to) {
  if (to.dtype == DType::Float16) convertAll(from, to.as<Half>(), to.size());
  else convertAll(from, to.as<BFloat16>(), to.size());
}

void fillRows(const View& y, const View& bias, bool add) {
  if (y.size() == 0) return;
  visitType(y.dtype, [&]<class T>(TypeTag<T>) {
    using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const int64_t channels = y.shape.back();
    parallelFor(y.size() / channels, 1 + 32768 / channels, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t c = 0; c < channels; ++c) {
          T& to = y.as<T>()[row * channels + c];
          C b = bias.defined ? convertTo<C>(bias.as<T>()[c]) : C(0);
          to = convertTo<T>(add ? convertTo<C>(to) + b : b);
        }
    });
  });
}

using Operands = std::array<View, 3>;

template <class T>
std::array<const T*, 3> pointers(const Operands& in) {
  std::array<const T*, 3> out{};
  for (size_t i = 0; i < 3; ++i) out[i] = in[i].defined ? in[i].as<const T>() : nullptr;
  return out;
}

/// Runs a convolution by oneDNN where it takes the dtype and the work is worth it, else by the own kernels; 16-bit
/// floats pass through float32. `by` is called with a way to compute (ConvOneDnn, ConvDirect or ConvGemm) and typed
/// pointers.
template <class By>
void compute(const ConvShape& s, const Operands& in, const View& out, By&& by) {
  const ConvShape three = expanded(s);
  auto own = [&]<class T>(std::array<const T*, 3> from, T* to) {
    if (s.depthwise() || s.work() <= kSmallConv) by(ConvDirect<T>{}, three, from, to);
    else by(ConvGemm<T>{}, three, from, to);
  };
  const bool large = s.work() > kSmallConv;
  if (large && ConvOneDnn::takes(out.dtype)) return by(ConvOneDnn{out.dtype}, s, pointers<void>(in), out.data());
  if (out.dtype == DType::Float64) return own(pointers<double>(in), out.as<double>());
  if (out.dtype == DType::Float32) return own(pointers<float>(in), out.as<float>());
  const std::array<const float*, 3> wide{widened(in[0], Purpose::ConvSource), widened(in[1], Purpose::ConvWeights),
                                         widened(in[2], Purpose::ConvBias)};
  float* result = workspace<float>(Purpose::ConvResult, size_t(out.size()));
  if (large && ConvOneDnn::takes(DType::Float32)) {
    by(ConvOneDnn{DType::Float32}, s, std::array<const void*, 3>{wide[0], wide[1], wide[2]},
       static_cast<void*>(result));
  } else {
    own(wide, result);
  }
  narrow(result, out);
}

const View kNone{.defined = false};

// Without AVX-512 oneDNN's direct convolutions fall behind products of patches in places (bench/ops, 4 threads):
// forward over strides and on small images, for the gradient of the data of 1 x 1 kernels, and for that of the weight
// throughout.
const bool kNarrow = !(hwy::SupportedTargets() & HWY_AVX3);

bool productsMayPay(const ConvShape& s, DType dtype) {
  return kNarrow && dtype == DType::Float32 && s.groups == 1 && s.inChannels >= 64 && s.work() > 1e7;
}
bool forwardPays(const ConvShape& s, DType dtype) {
  const bool strided = s.stride.product() > 1, small = s.out.product() <= 64 && s.inChannels >= 256;
  return productsMayPay(s, dtype) && s.kernel.product() > 1 && (strided || small);
}
bool dataPays(const ConvShape& s, DType dtype) {
  return productsMayPay(s, dtype) && s.kernel.product() == 1 && s.in == s.out;
}

}  // namespace

void convForward(const ConvShape& s, const View& x, const View& weight, const View& bias, const View& y) {
  if (s.empty()) return fillRows(y, bias, false);
  if (forwardPays(s, y.dtype)) {
    const auto [from, by, add] = pointers<float>({x, weight, bias});
    return ConvGemm<float>::forward(expanded(s), from, by, add, y.as<float>());
  }
  compute(s, {x, weight, bias}, y, [](auto way, const ConvShape& shape, const auto& in, auto* out) {
    way.forward(shape, in[0], in[1], in[2], out);
  });
}

void convData(const ConvShape& s, const View& grad, const View& weight, const View& bias, const View& dx) {
  if (s.empty()) return fillRows(dx, bias, false);
  if (dataPays(s, dx.dtype)) {
    ConvGemm<float>::data(expanded(s), grad.as<float>(), weight.as<float>(), dx.as<float>());
    if (bias.defined) fillRows(dx, bias, true);
    return;
  }
  compute(s, {grad, weight, kNone}, dx,
          [](auto way, const ConvShape& shape, const auto& in, auto* out) { way.data(shape, in[0], in[1], out); });
  if (bias.defined) fillRows(dx, bias, true);
}

void convWeights(const ConvShape& s, const View& x, const View& grad, const View& dw) {
  if (s.empty()) return fillRows(dw, kNone, false);
  if (productsMayPay(s, dw.dtype))
    return ConvGemm<float>::weights(expanded(s), x.as<float>(), grad.as<float>(), dw.as<float>());
  compute(s, {x, grad, kNone}, dw,
          [](auto way, const ConvShape& shape, const auto& in, auto* out) { way.weights(shape, in[0], in[1], out); });
}

void convInference(const ConvShape& s, const View& x, const View& weight, bool packed, const View& bias,
                   const ConvAfter& after, const View& y) {
  const bool library = !s.empty() && s.work() > kSmallConv && ConvOneDnn::takes(y.dtype);
  if (library) {
    if (after.residual.defined && after.residual.data() != y.data()) copy(after.residual, y);
    return ConvOneDnn{y.dtype}.inference(s, x.data(), weight.data(), packed, bias.defined ? bias.data() : nullptr,
                                         after.residual.defined, after.relu, y.data());
  }
  View plain = y;
  const bool over = after.residual.defined && after.residual.data() == y.data();
  if (over) plain.memory = static_cast<std::byte*>(workspace(Purpose::Result, size_t(y.size()) * sizeof(double)));
  convForward(s, x, weight, bias, plain);
  visitType(y.dtype, [&]<class T>(TypeTag<T>) {
    using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
    parallelFor(y.size(), 32768, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        C value = convertTo<C>(plain.as<T>()[i]);
        if (after.residual.defined) value += convertTo<C>(after.residual.as<T>()[i]);
        y.as<T>()[i] = convertTo<T>(after.relu && value < 0 ? C(0) : value);
      }
    });
  });
}

int64_t packedConvSize(const ConvShape& s, DType dtype) {
  if (s.groups != 1 || s.empty() || s.work() <= kSmallConv || dtype != DType::Float32 || !ConvOneDnn::takes(dtype))
    return 0;
  auto blocks = [](int64_t n) { return (n + 15) / 16 * 16; };
  return blocks(s.outChannels) * blocks(s.inChannels) * s.kernel.product() + 1024;
}

void packConvWeights(const ConvShape& s, const View& weight, const View& packed) {
  ConvOneDnn{weight.dtype}.pack(s, weight.data(), packed.data(), size_t(packed.size()) * itemSize(packed.dtype));
}

}  // namespace anneal::cpu
