// What is brought to a recorded graph before it runs, and taken from it afterwards: many small things at once.
#include <algorithm>
#include <cstring>

#include "tensors.cuh"

namespace anneal::cuda {
namespace {

constexpr size_t kLarge = size_t(1) << 20;  // bytes that are worth a copy of their own
constexpr int kBytes = 16;                  // of an access
constexpr size_t kSlots = 128;              // in the arguments of a launch

/// Arrays: from, what comes instead after a mistake, to; their size is in bytes.
__global__ void __launch_bounds__(kChunkThreads) movePieces(TensorTable<3> table, const int* failed) {
  const auto& e = table.entries[table.find(blockIdx.x)];
  const auto* from = static_cast<const uint8_t*>(e.arrays[failed && *failed ? 1 : 0]);
  eachOfChunk<kBytes>(e, [&]<int N>(Run<N>, int64_t at) {
    using Piece = Pack<uint8_t, N>;
    *reinterpret_cast<Piece*>(static_cast<uint8_t*>(e.arrays[2]) + at) = *reinterpret_cast<const Piece*>(from + at);
  });
}

struct Slots {
  uint4 values[kSlots];
};

__global__ void __launch_bounds__(kSlots) putSlots(Slots slots, uint4* to, int count) {
  const int i = int(threadIdx.x);
  if (i < count) to[i] = slots.values[i];
}

}  // namespace

void CudaDevice::moveAll(std::span<const Move> moves) {
  std::vector<View> pieces;
  std::vector<const Move*> taken;  // by the kernel
  const bool mayStay = std::any_of(moves.begin(), moves.end(), [](const Move& m) { return m.kept != nullptr; });
  const int* const mistaken = mayStay ? failed() : nullptr;
  for (const Move& m : moves) {
    if (m.bytes >= kLarge && !(m.kept && mistaken)) {
      move(m.to, m.from, m.bytes);
      continue;
    }
    pieces.push_back({.shape = {int64_t(m.bytes)}, .strides = {1}, .dtype = DType::UInt8});
    taken.push_back(&m);
  }
  eachTable<3>(
      pieces, DType::UInt8,
      [&](size_t i, int k) -> void* {
        const Move& m = *taken[i];
        return k == 2 ? m.to : const_cast<std::byte*>(k == 1 && m.kept ? m.kept : m.from);
      },
      [&](const TensorTable<3>& table) {
        launch(movePieces, table.chunks, kChunkThreads, 0, cuda::stream(), table, mistaken);
      });
}

void CudaDevice::put(std::byte* to, std::span<const Slot> values) {
  for (size_t at = 0; at < values.size(); at += kSlots) {
    const size_t count = std::min(kSlots, values.size() - at);
    Slots slots{};
    std::memcpy(slots.values, &values[at], count * sizeof(Slot));
    launch(putSlots, 1, unsigned(kSlots), 0, cuda::stream(), slots, reinterpret_cast<uint4*>(to) + at, int(count));
  }
}

}  // namespace anneal::cuda
