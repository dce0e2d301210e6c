#include "cpu/conv.h"

#include <array>

#include "cpu/conv_packed.h"
#include "cpu/convert.h"
#include "cpu/copy.h"
#include "cpu/parallel.h"
#include "cpu/workspace.h"

namespace anneal::cpu {

ConvShape expanded(ConvShape s) {
  while (s.rank() < 3) {
    for (Dims* d : {&s.in, &s.out, &s.kernel, &s.stride, &s.dilation}) d->insert(0, 1);
    s.before.insert(0, 0);
    s.after.insert(0, 0);
  }
  return s;
}

namespace {

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

constexpr int64_t kFewChannels = 16;  // below which oneDNN's kernels for images are ahead of own ones (bench_conv)

/// Whether own kernels with packed weights take it; everything else is for those that read the weights as they lie.
bool packs(const ConvShape& s) {
  const bool image = s.inChannels < kFewChannels && ConvOneDnn::takes(DType::Float32);
  return s.groups == 1 && s.work() > kSmallConv && !image;
}

/// The own way that suits a shape of three spatial axes.
template <class T>
struct ConvOwn {
  static bool direct(const ConvShape& s) { return s.depthwise() || s.work() <= kSmallConv; }

  static void forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
    if (direct(s)) return ConvDirect<T>::forward(s, x, weight, bias, y);
    if constexpr (std::is_same_v<T, float>)
      if (packs(s)) return ConvPacked::forward(s, x, weight, bias, y);
    ConvGemm<T>::forward(s, x, weight, bias, y);
  }
  static void data(const ConvShape& s, const T* grad, const T* weight, T* dx) {
    if (direct(s)) return ConvDirect<T>::data(s, grad, weight, dx);
    if constexpr (std::is_same_v<T, float>)
      if (packs(s) && s.stride.product() == 1) return ConvPacked::data(s, grad, weight, dx);
    ConvGemm<T>::data(s, grad, weight, dx);
  }
  static void weights(const ConvShape& s, const T* x, const T* grad, T* dw) {
    if (direct(s)) return ConvDirect<T>::weights(s, x, grad, dw);
    if constexpr (std::is_same_v<T, float>)
      if (ConvWinograd::takesWeights(s)) return ConvWinograd::weights(s, x, grad, dw);
    ConvGemm<T>::weights(s, x, grad, dw);
  }
};

/// Runs a convolution by oneDNN where it takes the dtype, the work is worth it and, for float32, `library` says that it
/// is the faster way; else by the own kernels. 16-bit floats pass through float32. `by` is called with a way to compute
/// (ConvOneDnn or ConvOwn) and typed pointers.
template <class By>
void compute(const ConvShape& s, const Operands& in, const View& out, bool library, By&& by) {
  auto takes = [&](DType dtype) {
    return s.work() > kSmallConv && ConvOneDnn::takes(dtype) && (library || dtype != DType::Float32);
  };
  if (takes(out.dtype)) return by(ConvOneDnn{out.dtype}, s, pointers<void>(in), out.data());
  const ConvShape three = expanded(s);
  if (out.dtype == DType::Float64) return by(ConvOwn<double>{}, three, pointers<double>(in), out.as<double>());
  if (out.dtype == DType::Float32) return by(ConvOwn<float>{}, three, pointers<float>(in), out.as<float>());
  const std::array<const float*, 3> wide{widened(in[0], Purpose::ConvSource), widened(in[1], Purpose::ConvWeights),
                                         widened(in[2], Purpose::ConvBias)};
  float* result = workspace<float>(Purpose::ConvResult, size_t(out.size()));
  if (takes(DType::Float32)) {
    by(ConvOneDnn{DType::Float32}, s, std::array<const void*, 3>{wide[0], wide[1], wide[2]},
       static_cast<void*>(result));
  } else {
    by(ConvOwn<float>{}, three, wide, result);
  }
  narrow(result, out);
}

const View kNone{.defined = false};

/// oneDNN's gradient of the weight falls behind Winograd's way and products of patches (bench_conv).
bool ownWeights(const ConvShape& s) {
  return s.groups == 1 && s.work() > 1e7 && (s.inChannels >= 64 || ConvWinograd::takesWeights(expanded(s)));
}

}  // namespace

void convForward(const ConvShape& s, const View& x, const View& weight, const View& bias, const View& y) {
  if (s.empty()) return fillRows(y, bias, false);
  compute(s, {x, weight, bias}, y, !packs(s), [](auto way, const ConvShape& shape, const auto& in, auto* out) {
    way.forward(shape, in[0], in[1], in[2], out);
  });
}

void convData(const ConvShape& s, const View& grad, const View& weight, const View& bias, const View& dx) {
  if (s.empty()) return fillRows(dx, bias, false);
  compute(s, {grad, weight, kNone}, dx, !packs(s) || s.stride.product() > 1,
          [](auto way, const ConvShape& shape, const auto& in, auto* out) { way.data(shape, in[0], in[1], out); });
  if (bias.defined) fillRows(dx, bias, true);
}

void convWeights(const ConvShape& s, const View& x, const View& grad, const View& dw) {
  if (s.empty()) return fillRows(dw, kNone, false);
  compute(s, {x, grad, kNone}, dw, !ownWeights(s),
          [](auto way, const ConvShape& shape, const auto& in, auto* out) { way.weights(shape, in[0], in[1], out); });
}

void convInference(const ConvShape& s, const View& x, const View& weight, bool packed, const View& bias,
                   const ConvAfter& after, const View& y) {
  const View& residual = after.residual;
  if (packed) {
    const auto [from, add, more] = pointers<float>({x, bias, residual});
    return ConvPacked::run(expanded(s), from, weight.as<float>(), {add, more, after.relu}, y.as<float>());
  }
  if (!s.empty() && s.work() > kSmallConv && ConvOneDnn::takes(y.dtype)) {
    if (residual.defined && residual.data() != y.data()) copy(residual, y);
    return ConvOneDnn{y.dtype}.inference(s, x.data(), weight.data(), bias.defined ? bias.data() : nullptr,
                                         residual.defined, after.relu, y.data());
  }
  View plain = y;
  const bool over = residual.defined && residual.data() == y.data();
  if (over) plain.memory = static_cast<std::byte*>(workspace(Purpose::Result, size_t(y.size()) * sizeof(double)));
  convForward(s, x, weight, bias, plain);
  visitType(y.dtype, [&]<class T>(TypeTag<T>) {
    using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
    parallelFor(y.size(), 32768, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        C value = convertTo<C>(plain.as<T>()[i]);
        if (residual.defined) value += convertTo<C>(residual.as<T>()[i]);
        y.as<T>()[i] = convertTo<T>(after.relu && value < 0 ? C(0) : value);
      }
    });
  });
}

int64_t packedConvSize(const ConvShape& s, DType dtype) {
  return packs(s) && dtype == DType::Float32 ? ConvPacked::packedSize(expanded(s)) : 0;
}

void packConvWeights(const ConvShape& s, const View& weight, const View& packed) {
  ConvPacked::pack(expanded(s), weight.as<float>(), packed.as<float>());
}

}  // namespace anneal::cpu
