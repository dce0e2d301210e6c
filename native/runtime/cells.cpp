#include "runtime/cells.h"

#include "ops/device.h"
#include "ops/views.h"
#include "runtime/context.h"
#include "runtime/executor.h"
#include "runtime/follower.h"
#include "runtime/recorder.h"

namespace anneal {
namespace {

/// A cell's value, of `bytes`, and the one from before. Memory may change hands while a function is queued, as for any
/// task.
struct Replaced {
  Block* now;
  Block* before;  // null: not of a pool, so without faults, and maybe gone by then, unlike its memory
  std::byte* to;
  const std::byte* from;
  size_t bytes;
};

/// Puts the old value in the place of the new one where that carries a fault, or is found to come of a mistake.
void keepIfFaulty(Device& device, const Replaced& r) {
  auto* const follower = dynamic_cast<Follower*>(&device);
  const auto lost = faultOf([&] {
    std::shared_ptr<const Error> fault = r.now->fault;
    if (!fault && follower) fault = follower->heed({&r.now, 1});
    if (fault) {
      device.move(r.to, r.from, r.bytes);
      r.now->fault = r.before ? r.before->fault : nullptr;
    } else if (auto* recorder = dynamic_cast<Recorder*>(&device)) {
      const Recorder::Move move{r.to, r.to, r.bytes, r.from};
      recorder->moveAll({&move, 1});
    }
  });
  if (lost) r.now->fault = lost;
  const Follower::Kept kept{r.now, r.from};
  if (follower) follower->ran({&r.now, 1}, {&r.now, 1}, {&kept, 1});
}

}  // namespace

void assign(const Tensor& cell, Tensor value, Assigning how) {
  const Spec expected{cell.shape(), how.converts ? value.dtype() : cell.dtype()};
  require(value.spec() == expected, Code::Shape, "assign: expected ", expected, "; got ", value.spec());
  TensorImpl& to = *cell.impl();
  if (!value.impl()->storage) value = ops::contiguous(value);
  // A value from elsewhere comes to the cell, unless the cell is to be made anew.
  if (!how.converts && to.storage) value = ops::movedTo(value, cell.device());
  const TensorImpl& from = *value.impl();
  Device& device = *from.device;
  const bool alone = from.storage->kind == Block::Kind::Pooled && from.storage->references() == 1 &&
                     value.contiguous() && cell.contiguous();
  if (how.given && alone && to.storage && !how.converts) {
    const size_t item = itemSize(expected.dtype);
    Block* const before = to.storage->kind == Block::Kind::Pooled ? to.storage.get() : nullptr;
    const Replaced replaced{from.storage.get(), before, from.storage->data + size_t(from.offset) * item,
                            to.storage->data + size_t(to.offset) * item, size_t(value.size()) * item};
    if (device.type() == DeviceType::Cpu && device.idle()) keepIfFaulty(device, replaced);
    else device.enqueue([&device, replaced] { keepIfFaulty(device, replaced); });
  }
  to.storage = from.storage;
  to.strides = value.strides();
  to.offset = from.offset;
  to.device = from.device;
  to.isScalar = false;
  to.spec = expected;
}

}  // namespace anneal
