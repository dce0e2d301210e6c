#pragma once
// What translate.mjs writes its C++ with: registers, memory, and what the threads of a warp do together.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/dtype.h"
#include "cuda_runtime.h"
#include "numbers.h"
#include "pending.h"
#include "tensorcore.h"
#include "translated.h"

namespace anneal::emulate::ptx {

/// What a register or a number holds, as a type.
template <class T, class R>
T get(R bits) {
  if constexpr (std::is_same_v<T, float>) return std::bit_cast<float>(uint32_t(bits));
  else if constexpr (std::is_same_v<T, double>) return std::bit_cast<double>(uint64_t(bits));
  else if constexpr (std::is_same_v<T, F16> || std::is_same_v<T, BF16>) return {uint16_t(bits)};
  else if constexpr (std::is_same_v<T, bool>) return bits != 0;
  else return T(bits);
}
/// Signed values fill wider registers with their sign.
template <class R, class T>
void set(R& to, T value) {
  if constexpr (std::is_same_v<T, float>) to = R(std::bit_cast<uint32_t>(value));
  else if constexpr (std::is_same_v<T, double>) to = R(std::bit_cast<uint64_t>(value));
  else if constexpr (std::is_same_v<T, F16> || std::is_same_v<T, BF16>) to = value.bits;
  else to = R(value);
}

// Memory. Addresses of what is shared count from where a block's memory begins; all others are the host's.
inline uint64_t address(const void* at) { return reinterpret_cast<uint64_t>(at); }
inline uint64_t at(uint64_t base, int64_t plus) { return base + uint64_t(plus); }
inline uint64_t dynamicBase(uint32_t staticBytes) { return kSharedBase + staticBytes; }

template <class T>
T* pointerGeneric(uint64_t at, size_t count = 1) {
  if (at % (sizeof(T) * count) != 0) misuse("an address is no multiple of what is read or written there");
  return reinterpret_cast<T*>(at);
}
/// Null for what lies outside of the block's memory.
std::byte* sharedPlace(uint64_t at, size_t bytes);
template <class T>
T* pointerShared(uint64_t at, size_t count = 1) {
  if (at % (sizeof(T) * count) != 0) misuse("an address is no multiple of what is read or written there");
  return reinterpret_cast<T*>(sharedPlace(at, sizeof(T) * count));
}
template <class T, class... R>
void loadAll(const T* from, R&... to) {
  if (from) (set(to, *from++), ...);
}
template <class T, class... V>
void storeAll(T* to, V... values) {
  if (to) ((*to++ = values), ...);
}
template <class T, class... R>
void loadGeneric(uint64_t at, R&... to) {
  loadAll(pointerGeneric<const T>(at, sizeof...(to)), to...);
}
template <class T, class... R>
void loadShared(uint64_t at, R&... to) {
  loadAll<T>(pointerShared<T>(at, sizeof...(to)), to...);
}
template <class T, class... V>
void storeGeneric(uint64_t at, V... values) {
  storeAll(pointerGeneric<T>(at, sizeof...(values)), values...);
}
template <class T, class... V>
void storeShared(uint64_t at, V... values) {
  storeAll(pointerShared<T>(at, sizeof...(values)), values...);
}
template <class T>
T atom_add(T* at, T v) {
  return atomicAdd(at, v);
}
template <class T>
T atom_max(T* at, T v) {
  return atomicMax(at, v);
}
template <class T>
T atom_cas(T* at, T expected, T v) {
  return atomicCAS(at, expected, v);
}

// Parts of registers, the lowest first.
template <class W, class... R>
void unpack(W bits, R&... parts) {
  int from = 0;
  ((parts = R(bits >> from), from += int(8 * sizeof(R))), ...);
}
template <class W, class... R>
void pack(W& to, R... parts) {
  int from = 0;
  W out = 0;
  ((out |= W(W(parts) << from), from += int(8 * sizeof(W) / sizeof...(parts))), ...);
  to = out;
}

// Between the threads of a warp.
struct Shuffled {
  uint32_t value;
  bool inside;
};
Shuffled shfl_idx(uint32_t value, uint32_t b, uint32_t c, uint32_t mask);
Shuffled shfl_up(uint32_t value, uint32_t b, uint32_t c, uint32_t mask);
Shuffled shfl_down(uint32_t value, uint32_t b, uint32_t c, uint32_t mask);
Shuffled shfl_bfly(uint32_t value, uint32_t b, uint32_t c, uint32_t mask);

// Matrices.
template <class... R>
void ldmatrix(uint64_t at, bool transposed, R&... to) {
  uint32_t got[sizeof...(to)] = {};
  if (const std::byte* row = sharedPlace(at, 16)) loadMatrices(got, row, transposed);
  const uint32_t* next = got;
  ((to = *next++), ...);
}
/// cp.async of 16 bytes, of which `bytes` are copied; the others are 0.
inline void copy16(uint64_t to, uint64_t from, uint32_t bytes) {
  if (bytes != 0 && bytes != 16) misuse("cp.async: the emulator copies all of 16 bytes or none");
  if (std::byte* place = sharedPlace(to, 16)) copyLater(place, bytes == 16 ? pointerGeneric<void*>(from, 2) : nullptr);
}
/// wgmma.mma_async, whose sums are there at once: registers may be named anew between it and the wait for it.
void wgmma(uint32_t* const* sums, int columns, bool accumulate, const uint32_t* a, uint64_t left, uint64_t right,
           bool transposed, bool brain);

#define GET4F(a, b, c, d) get<float>(a), get<float>(b), get<float>(c), get<float>(d)
#define SET4F(from, a, b, c, d) set(a, from[0]), set(b, from[1]), set(c, from[2]), set(d, from[3])

}  // namespace anneal::emulate::ptx
