// Sums over several GPUs, in the order of their streams. The first GPU's thread starts them for all; the others meet it
// by peer copies of one byte, which bring the order of the streams, and what went wrong, along.
#include "collectives.h"

#include <memory>
#include <vector>

#include "device.h"
#include "nccl.h"
#include "runtime/collectives.h"

namespace anneal::cuda {
namespace {

CudaDevice& deviceOf(const Share& share) { return static_cast<CudaDevice&>(*share.device); }

/// A sum on its way.
struct Sum {
  std::vector<Share> shares;
  DType dtype;
  size_t count;
  bool mean;
  // By share, but for the first: a byte of it at the first GPU, and a byte of the result at its own.
  std::vector<Ref<Block>> arrived{}, left{};
};

Ref<Block> byteAt(CudaDevice& device) { return device.allocate({{1}, DType::UInt8}, false); }

void reduce(const Sum& sum) {
  std::vector<Part> parts;
  for (const Share& s : sum.shares) parts.push_back({ordinalOf(deviceOf(s)), s.from, s.target->data});
  allReduceByNccl(std::move(parts), sum.dtype, sum.count, sum.mean, stream());
}

/// On the first GPU's thread, where all shares have arrived.
void start(const Sum& sum) {
  std::vector<Block*> reads{sum.shares[0].source.get()}, writes{sum.shares[0].target.get()};
  for (size_t i = 1; i < sum.shares.size(); ++i) reads.push_back(sum.arrived[i].get());
  std::shared_ptr<const Error> fault;
  for (const Block* b : reads)
    if (!fault) fault = b->fault;
  try {
    if (!fault) reduce(sum);
  } catch (const Error& e) {
    fault = std::make_shared<const Error>(e);
  }
  writes[0]->fault = fault;
  current().ran(reads, writes, {});
}

/// On another GPU's thread, where the sum has left the first: from here on its stream may use the result.
void finish(const Sum& sum, size_t i) {
  std::vector<Block*> reads{sum.left[i].get()}, writes{sum.shares[i].target.get()};
  writes[0]->fault = reads[0]->fault;
  current().ran(reads, writes, {});
}

/// Whoever waits for another waits for what was queued before: threads that queue sums at the same time, over any of
/// the GPUs, cannot have these wait for each other.
void allReduce(std::span<const Share> shares, DType dtype, int64_t count, bool mean) {
  CudaDevice& first = deviceOf(shares[0]);
  auto sum = std::make_shared<Sum>(Sum{{shares.begin(), shares.end()}, dtype, size_t(count), mean});
  sum->arrived.resize(shares.size());
  sum->left.resize(shares.size());
  for (size_t i = 1; i < shares.size(); ++i) {
    sum->arrived[i] = byteAt(first);
    sum->left[i] = byteAt(deviceOf(shares[i]));
  }
  for (size_t i = 1; i < shares.size(); ++i)
    first.pull(deviceOf(shares[i]), {shares[i].source, shares[i].from, sum->arrived[i], 1});
  first.enqueue([sum] { start(*sum); });
  for (size_t i = 1; i < shares.size(); ++i) {
    CudaDevice& device = deviceOf(shares[i]);
    device.pull(first, {shares[0].target, shares[0].target->data, sum->left[i], 1});
    device.enqueue([sum, i] { finish(*sum, i); });
  }
}

}  // namespace

void implementCollectives() {
  static const Collectives all{ncclServes, allReduce};
  offerCollectives(all);
}

}  // namespace anneal::cuda
