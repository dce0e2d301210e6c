#include "runtime/cells.h"

#include "ops/device.h"
#include "ops/views.h"
#include "runtime/context.h"
#include "runtime/executor.h"
#include "runtime/follower.h"
#include "runtime/recorder.h"

namespace anneal {
namespace {

/// Puts the old value in the place of the new one where that carries a fault, or is found to come of a mistake.
void keepIfFaulty(Device& device, const View& now, const View& old) {
  auto* const follower = dynamic_cast<Follower*>(&device);
  const size_t bytes = size_t(now.size()) * itemSize(now.dtype);
  std::shared_ptr<const Error> fault = now.block->fault;
  if (!fault && follower) fault = follower->heed({&now.block, 1});
  if (fault) {
    keepValue(device, now, old);
    now.block->fault = old.block ? old.block->fault : nullptr;
  } else if (auto* recorder = dynamic_cast<Recorder*>(&device); recorder && old.memory) {
    const Recorder::Move move{now.memory, now.memory, bytes, old.memory};
    recorder->moveAll({&move, 1});
  }
  const Follower::Kept kept{now.block, old.memory ? old.memory : now.memory};
  if (follower) follower->ran({&now.block, 1}, {&now.block, 1}, {&kept, 1});
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
  const bool alone = from.storage->references() == 1 && value.contiguous() && cell.contiguous() && !how.converts;
  if (how.given && alone) {
    const View now = value.view(), old = cell.view();
    if (device.type() == DeviceType::Cpu && device.idle()) keepIfFaulty(device, now, old);
    else device.enqueue([&device, now, old] { keepIfFaulty(device, now, old); });
  }
  to.storage = from.storage;
  to.strides = value.strides();
  to.offset = from.offset;
  to.device = from.device;
  to.isScalar = false;
  to.spec = expected;
}

}  // namespace anneal
