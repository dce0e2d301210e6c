// NCCL for the emulated devices: the functions that cuda/nccl.cpp calls, on the host's memory. What a group has been
// given is done when it ends, and only if all devices of a connection take part alike.
#include <cuda_runtime.h>

#include <cstdlib>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/dtype.h"
#include "cpu/convert.h"

struct CommunicatorOfNccl {
  int rank, devices;
};

namespace {

using anneal::DType;
using Communicator = CommunicatorOfNccl*;
enum Status : int { kSuccess = 0, kUnhandledCudaError = 1, kSystemError = 2, kInvalidUsage = 5 };
constexpr int kMean = 4;

struct Call {
  const void* from;
  void* to;
  size_t count;
  int type, operation;
  Communicator communicator;
  cudaStream_t stream;
};
thread_local std::vector<Call> group;
thread_local bool grouping = false;

/// Tests name what is to fail: ANNEAL_EMULATE_FAIL=nccl-version, nccl-connect, nccl-start or nccl-later.
bool toFail(std::string_view what) {
  const char* named = std::getenv("ANNEAL_EMULATE_FAIL");
  return named && what == named;
}

DType dtypeOf(int type) {
  constexpr DType all[] = {DType::Int8,  DType::UInt8,   DType::Int32,   DType::Int32,   DType::Int64,
                           DType::Int64, DType::Float16, DType::Float32, DType::Float64, DType::BFloat16};
  return all[type];
}

/// Whether each device of the connection has given one call, and all of these ask for the same.
bool complete() {
  std::vector<bool> seen(group.empty() ? 0 : size_t(group[0].communicator->devices));
  for (const Call& c : group) {
    const Call& first = group[0];
    if (c.count != first.count || c.type != first.type || c.operation != first.operation ||
        c.communicator->devices != first.communicator->devices || seen[size_t(c.communicator->rank)])
      return false;
    seen[size_t(c.communicator->rank)] = true;
  }
  return group.size() == seen.size();
}

/// Integers wrap, and 16-bit floats are rounded once.
template <class T>
void addUp() {
  using Wide = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
  for (size_t i = 0; i < group[0].count; ++i) {
    Wide sum = 0;
    for (const Call& c : group) sum += anneal::cpu::convertTo<Wide>(static_cast<const T*>(c.from)[i]);
    if (group[0].operation == kMean) sum /= Wide(group.size());
    for (const Call& c : group) static_cast<T*>(c.to)[i] = anneal::cpu::convertTo<T>(sum);
  }
}

}  // namespace

extern "C" {

int ncclGetVersion(int* version) {
  *version = toFail("nccl-version") ? 21803 : 29999;
  return kSuccess;
}

const char* ncclGetErrorString(int status) {
  switch (status) {
    case kSuccess: return "no error";
    case kUnhandledCudaError: return "unhandled cuda error";
    case kSystemError: return "unhandled system error";
    default: return "invalid usage";
  }
}

const char* ncclGetLastError(Communicator) { return "what NCCL knows more"; }

int ncclCommInitAll(Communicator* communicators, int count, const int*) {
  if (toFail("nccl-connect")) return kSystemError;
  for (int i = 0; i < count; ++i) communicators[i] = new CommunicatorOfNccl{i, count};
  return kSuccess;
}

int ncclCommGetAsyncError(Communicator, int* state) {
  *state = toFail("nccl-later") ? kUnhandledCudaError : kSuccess;
  return kSuccess;
}

int ncclGroupStart() {
  grouping = true;
  return kSuccess;
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int operation, Communicator communicator,
                  cudaStream_t stream) {
  if (!grouping || toFail("nccl-start")) return kInvalidUsage;
  group.push_back({from, to, count, type, operation, communicator, stream});
  return kSuccess;
}

int ncclGroupEnd() {
  grouping = false;
  const bool whole = complete();
  for (const Call& c : group) (void)cudaStreamSynchronize(c.stream);  // it comes after what the streams have been given
  if (whole && !group.empty())
    anneal::visitType(dtypeOf(group[0].type), []<class T>(anneal::TypeTag<T>) { addUp<T>(); });
  group.clear();
  return whole ? kSuccess : kInvalidUsage;
}
}
