#pragma once
#include <functional>
#include <string>

#include "ops/attention.h"
#include "runtime/task.h"

namespace anneal::cuda {

/// Attention of float16 or bfloat16 heads by tensor cores. Masks lie in the device's memory, or are not `defined`;
/// `key` is that of dropout, where there is any.
struct FlashCall {
  const View &q, &k, &v;
  View mask, key;
  const ops::Flash& attrs;
};

/// Whether the kernels below take these: depths that are multiples of 8 up to 128, and rows at multiples of 16 bytes.
bool tensorCoresTake(const View& q, const View& k, const View& v);

/// `out` is [batch, heads, time, depth] of any strides but along the depth, in multiples of 16 bytes; `logSumExp` is
/// contiguous. By cuDNN, by groups of warps, or by single warps: see flash_choice.cu.
void flashOnTensorCores(const FlashCall& call, const View& out, const View& logSumExp);
void flashByWarps(const FlashCall& call, const View& out, const View& logSumExp);
void flashByGroups(const FlashCall& call, const View& out, const View& logSumExp);
/// Has cuDNN do it where that serves, and does not fail: see flash_library.cpp. `own` does it by our kernels.
bool flashByLibrary(const FlashCall& call, const View& out, const View& logSumExp, const std::function<void()>& own);
std::string describeFlashByLibrary();
/// Which of them are taken, for people.
std::string describeAttention();

/// `out`, `grad` and the results as `out` above.
void flashGradOnTensorCores(const FlashCall& call, const View& out, const View& logSumExp, const View& grad,
                            const View& dq, const View& dk, const View& dv);
void flashGradByWarps(const FlashCall& call, const View& out, const View& logSumExp, const View& grad, const View& dq,
                      const View& dk, const View& dv);
void flashGradByGroups(const FlashCall& call, const View& out, const View& logSumExp, const View& grad, const View& dq,
                       const View& dk, const View& dv);
bool flashGradByLibrary(const FlashCall& call, const View& out, const View& logSumExp, const View& grad, const View& dq,
                        const View& dk, const View& dv, const std::function<void()>& own);

}  // namespace anneal::cuda
