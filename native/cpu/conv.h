#pragma once
#include "core/shape.h"
#include "runtime/task.h"

namespace anneal::cpu {

/// A convolution's sizes. Spatial lists have one entry per spatial axis; `after` may be negative (input left unread).
struct ConvShape {
  int64_t batch = 0, inChannels = 0, outChannels = 0, groups = 1;
  Dims in, out, kernel, stride, dilation, before, after;

  int rank() const { return in.rank(); }
  int64_t groupIn() const { return inChannels / groups; }
  int64_t groupOut() const { return outChannels / groups; }
  /// Elements of one filter.
  int64_t depth() const { return kernel.product() * groupIn(); }
  /// Multiplications with additions.
  double work() const { return double(batch) * double(out.product()) * double(outChannels) * double(depth()); }
  bool empty() const { return work() == 0; }
  bool depthwise() const { return groups == inChannels && groups == outChannels; }
};

/// The same convolution over three spatial axes.
ConvShape expanded(ConvShape s);

/// y [batch, out, outChannels] from x [batch, in, inChannels] and weight [outChannels, kernel, inChannels / groups].
void convForward(const ConvShape& s, const View& x, const View& weight, const View& bias, const View& y);
/// The gradient of x from that of y; `bias`, where defined, is added to every channel of the result.
void convData(const ConvShape& s, const View& grad, const View& weight, const View& bias, const View& dx);
/// The gradient of the weight from x and the gradient of y.
void convWeights(const ConvShape& s, const View& x, const View& grad, const View& dw);

/// What follows a convolution in one pass: the addition of a tensor of the result's shape, and a ReLU.
struct ConvAfter {
  View residual{.defined = false};
  bool relu = false;
};
/// convForward for weights that do not change: `packed` says that they come from packConvWeights.
void convInference(const ConvShape& s, const View& x, const View& weight, bool packed, const View& bias,
                   const ConvAfter& after, const View& y);
/// Elements (float32) that suffice for the packed weight; 0 where packing brings nothing.
int64_t packedConvSize(const ConvShape& s, DType dtype);
void packConvWeights(const ConvShape& s, const View& weight, const View& packed);

/// Work up to which a convolution is computed on the calling thread: what dispatch runs at once.
inline constexpr double kSmallConv = 8192;

/// The output positions that a kernel's taps connect with input positions, for shapes of three spatial axes.
struct Taps {
  explicit Taps(const ConvShape& s) : s(s) {}
  const ConvShape& s;

  /// Calls f(input pixel, tap) for each tap of output pixel `p` that falls on the input; all counted over the batch.
  template <class F>
  void of(int64_t p, F&& f) const {
    int64_t w = p % s.out[2], h = p / s.out[2] % s.out[1], d = p / (s.out[2] * s.out[1]) % s.out[0];
    int64_t n = p / s.out.product();
    for (int64_t i = 0; i < s.kernel[0]; ++i) {
      int64_t id = place(0, d, i);
      if (uint64_t(id) >= uint64_t(s.in[0])) continue;
      for (int64_t j = 0; j < s.kernel[1]; ++j) {
        int64_t ih = place(1, h, j);
        if (uint64_t(ih) >= uint64_t(s.in[1])) continue;
        int64_t base = ((n * s.in[0] + id) * s.in[1] + ih) * s.in[2];
        for (int64_t k = 0; k < s.kernel[2]; ++k) {
          int64_t iw = place(2, w, k);
          if (uint64_t(iw) < uint64_t(s.in[2])) f(base + iw, (i * s.kernel[1] + j) * s.kernel[2] + k);
        }
      }
    }
  }
  /// Where tap `k` of output position `o` reads, perhaps outside the input.
  int64_t place(int axis, int64_t o, int64_t k) const {
    return o * s.stride[axis] - s.before[axis] + k * s.dilation[axis];
  }
  /// The output position whose tap `k` reads input position `i`; -1 where there is none.
  int64_t source(int axis, int64_t i, int64_t k) const {
    int64_t at = i + s.before[axis] - k * s.dilation[axis];
    return at >= 0 && at % s.stride[axis] == 0 && at / s.stride[axis] < s.out[axis] ? at / s.stride[axis] : -1;
  }
};

// The ways to compute them. All data is contiguous and of one type; nothing is empty. The first two want shapes of
// three spatial axes.

/// Plain loops: for little work, and vectorised over channels for depthwise convolutions. T is float or double.
template <class T>
struct ConvDirect {
  static void forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y);
  static void data(const ConvShape& s, const T* grad, const T* weight, T* dx);
  static void weights(const ConvShape& s, const T* x, const T* grad, T* dw);
};

/// Patches gathered into a matrix, then a matrix product.
template <class T>
struct ConvGemm {
  static void forward(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y);
  static void data(const ConvShape& s, const T* grad, const T* weight, T* dx);
  static void weights(const ConvShape& s, const T* x, const T* grad, T* dw);
};

/// oneDNN, for float32 and, where the processor has it, bfloat16. On the stream's thread only.
struct ConvOneDnn {
  DType dtype;
  static bool takes(DType dtype);
  void forward(const ConvShape& s, const void* x, const void* weight, const void* bias, void* y) const;
  void data(const ConvShape& s, const void* grad, const void* weight, void* dx) const;
  void weights(const ConvShape& s, const void* x, const void* grad, void* dw) const;
  /// `y` holds the residual already where there is one.
  void inference(const ConvShape& s, const void* x, const void* weight, const void* bias, bool residual, bool relu,
                 void* y) const;
};

}  // namespace anneal::cpu
