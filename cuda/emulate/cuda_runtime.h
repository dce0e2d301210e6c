#pragma once
// What the CUDA sources need of CUDA, for a C++ compiler: kernels then run on the host. A tool for tests where there is
// no GPU; nothing here says how fast or how concurrent anything is on one.
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

#if defined(ANNEAL_CUDA_EMULATE_KERNEL)  // in a library of its own: they are the emulator's
extern constinit thread_local uint3 threadIdx, blockIdx;
extern constinit thread_local dim3 blockDim, gridDim;
#else
inline constinit thread_local uint3 threadIdx, blockIdx;
inline constinit thread_local dim3 blockDim, gridDim;
#endif
inline constexpr int warpSize = 32;

// Vector types that kernels load and store as a whole.
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace anneal::emulate {
/// Waits for the other threads of the block.
void syncBlock();
/// The same, and gives for how many of them `vote` holds.
int countBlock(bool vote);
/// Waits for the threads of the warp that `mask` names.
void syncWarp(uint32_t mask);
/// Gives the 8 bytes that thread `from` of the warp brings; all threads of `mask` meet here.
uint64_t exchange(uint32_t mask, uint64_t value, int from);
/// The threads of `mask` for which `vote` holds.
uint32_t ballot(uint32_t mask, bool vote);
/// The threads of `mask` that bring the same value.
uint32_t match(uint32_t mask, uint64_t value);
int lane();
/// Memory that the threads of the block share, of the size that the launch asked for.
void* dynamicShared();
/// Notes that a kernel did what has no defined result on a GPU; the launch fails.
void misuse(const char* what);
}  // namespace anneal::emulate

inline void __syncthreads() { anneal::emulate::syncBlock(); }
inline int __syncthreads_count(int vote) { return anneal::emulate::countBlock(vote != 0); }
inline int __syncthreads_or(int vote) { return anneal::emulate::countBlock(vote != 0) != 0; }
inline void __syncwarp(uint32_t mask = 0xffffffffu) { anneal::emulate::syncWarp(mask); }
inline void __threadfence() {}

namespace anneal::emulate {
template <class T>
T shuffle(uint32_t mask, T value, int from) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = exchange(mask, bits, from);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
/// A lane outside the group of `width` keeps its own value.
inline int within(int target, int width) { return target / width == lane() / width && target >= 0 ? target : lane(); }
}  // namespace anneal::emulate

template <class T>
T __shfl_sync(uint32_t mask, T value, int from, int width = 32) {
  return anneal::emulate::shuffle(mask, value, anneal::emulate::lane() / width * width + from % width);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32) {
  return anneal::emulate::shuffle(mask, value, anneal::emulate::within(anneal::emulate::lane() ^ bits, width));
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned by, int width = 32) {
  return anneal::emulate::shuffle(mask, value, anneal::emulate::within(anneal::emulate::lane() + int(by), width));
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned by, int width = 32) {
  const int target = anneal::emulate::lane() % width - int(by);
  return anneal::emulate::shuffle(mask, value,
                                  target < 0 ? anneal::emulate::lane() : anneal::emulate::lane() - int(by));
}
inline unsigned __ballot_sync(uint32_t mask, int vote) { return anneal::emulate::ballot(mask, vote != 0); }
inline int __any_sync(uint32_t mask, int vote) { return anneal::emulate::ballot(mask, vote != 0) != 0; }
inline int __all_sync(uint32_t mask, int vote) { return anneal::emulate::ballot(mask, vote == 0) == 0; }
template <class T>
unsigned __match_any_sync(uint32_t mask, T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return anneal::emulate::match(mask, bits);
}
inline unsigned __activemask() { return 0xffffffffu; }

// Blocks run on several threads of the host: atomics are atomic there.
namespace anneal::emulate {
#if defined(ANNEAL_EMULATE_RACES)
void touchAtomically(const void* at, size_t bytes);
#define ANNEAL_UNWATCHED __attribute__((no_sanitize("thread"), noinline))
#else
inline void touchAtomically(const void*, size_t) {}
#define ANNEAL_UNWATCHED
#endif
template <class T, class F>
ANNEAL_UNWATCHED T update(T* at, F&& f) {
  touchAtomically(at, sizeof(T));
  T before;
  __atomic_load(at, &before, __ATOMIC_RELAXED);
  for (;;) {
    T after = f(before);
    if (__atomic_compare_exchange(at, &before, &after, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return before;
  }
}
}  // namespace anneal::emulate
template <class T>
T atomicAdd(T* at, std::type_identity_t<T> v) {
  return anneal::emulate::update(at, [v](T old) { return T(old + v); });
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> v) {
  return anneal::emulate::update(at, [v](T old) { return old < v ? v : old; });
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> v) {
  return anneal::emulate::update(at, [v](T old) { return v < old ? v : old; });
}
template <class T>
T atomicOr(T* at, std::type_identity_t<T> v) {
  return anneal::emulate::update(at, [v](T old) { return T(old | v); });
}
template <class T>
T atomicExch(T* at, std::type_identity_t<T> v) {
  return anneal::emulate::update(at, [v](T) { return v; });
}
template <class T>
ANNEAL_UNWATCHED T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  anneal::emulate::touchAtomically(at, sizeof(T));
  __atomic_compare_exchange(at, &expected, &v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return expected;
}

template <class T>
T __ldg(const T* at) {
  return *at;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline int __popc(unsigned v) { return std::popcount(v); }
inline int __clz(int v) { return std::countl_zero(unsigned(v)); }
inline int __ffs(int v) { return v == 0 ? 0 : std::countr_zero(unsigned(v)) + 1; }
inline float __int_as_float(int v) { return std::bit_cast<float>(v); }
inline int __float_as_int(float v) { return std::bit_cast<int>(v); }
inline unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
inline float __uint_as_float(unsigned v) { return std::bit_cast<float>(v); }
inline float __expf(float x) { return std::exp(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

// The runtime's functions: streams run what they are given at once, or record it.
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorIllegalState = 401,
  cudaErrorNotReady = 600,
  cudaErrorPeerAccessAlreadyEnabled = 704,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901
};
enum cudaMemcpyKind {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4
};
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2
};
struct EmulatedStream;
struct EmulatedEvent;
struct EmulatedGraph;
using cudaStream_t = EmulatedStream*;
using cudaEvent_t = EmulatedEvent*;
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;

const char* cudaGetErrorName(cudaError_t e);
const char* cudaGetErrorString(cudaError_t e);
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceCanAccessPeer(int* able, int device, int peer);
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags);
// Copies refuse memory that is not the devices' own.
cudaError_t cudaMemcpyPeerAsync(void* to, int toDevice, const void* from, int fromDevice, size_t bytes, cudaStream_t);
cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaEventBlockingSync = 1,
                          cudaHostAllocMapped = 2, cudaHostAllocDefault = 0;
