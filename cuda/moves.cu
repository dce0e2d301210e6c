// What is brought to a recorded graph before it runs, and taken from it afterwards: many small things at once.
#include <algorithm>
#include <cstring>

#include "tensors.cuh"

namespace anneal::cuda {
namespace {

constexpr size_t kLarge = size_t(1) << 20;  // bytes that are worth a copy of their own
constexpr int kBytes = 16;                  // of an access
constexpr size_t kSlots = 128;              // in the arguments of a launch

/// Arrays: from, to; their size is in bytes.
__global__ void __launch_bounds__(kChunkThreads) movePieces(TensorTable<2> table) {
  const auto& e = table.entries[table.find(blockIdx.x)];
  eachOfChunk<kBytes>(e, [&]<int N>(Run<N>, int64_t at) {
    using Piece = Pack<uint8_t, N>;
    *reinterpret_cast<Piece*>(static_cast<uint8_t*>(e.arrays[1]) + at) =
        *reinterpret_cast<const Piece*>(static_cast<const uint8_t*>(e.arrays[0]) + at);
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
  std::vector<const Move*> small;
  for (const Move& m : moves) {
    if (m.bytes >= kLarge) {
      move(m.to, m.from, m.bytes);
      continue;
    }
    pieces.push_back({.shape = {int64_t(m.bytes)}, .strides = {1}, .dtype = DType::UInt8});
    small.push_back(&m);
  }
  eachTable<2>(
      pieces, DType::UInt8,
      [&](size_t i, int k) -> void* { return k == 0 ? const_cast<std::byte*>(small[i]->from) : small[i]->to; },
      [&](const TensorTable<2>& table) { launch(movePieces, table.chunks, kChunkThreads, 0, cuda::stream(), table); });
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
