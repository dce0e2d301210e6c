#include "ops/device.h"

#include <future>

#include "graph/tape.h"
#include "ops/views.h"
#include "runtime/backend.h"
#include "runtime/context.h"
#include "runtime/executor.h"

namespace anneal::ops {
namespace {

using Fault = std::shared_ptr<const Error>;

/// Has `to`'s stream wait until `from` has computed all that it was given, and then do `copy` there.
void follow(Device& from, Device& to, const Tensor& x, const Tensor& out, std::function<void()> fetch,
            std::function<void()> copy) {
  auto done = std::make_shared<std::promise<Fault>>();
  from.whenDone([x, fetch = std::move(fetch), done] {
    const Fault fault = x.view().block ? x.view().block->fault : nullptr;
    done->set_value(fault ? fault : faultOf(fetch));
  });
  to.enqueue([out, copy = std::move(copy), done] {
    std::future<Fault> coming = done->get_future();
    Executor::pause([&] { coming.wait(); });
    const Fault fault = coming.get();
    out.impl()->storage->fault = fault ? fault : faultOf(copy);
  });
}

/// Between the host and a GPU, or between two GPUs.
void copyAcross(const Tensor& x, const Tensor& out) {
  const std::byte* from = x.view().memory;
  const size_t bytes = size_t(x.size()) * itemSize(x.dtype());
  Device &source = x.device(), &target = out.device();
  const Ref<Block> block = out.impl()->storage;
  if (source.type() == DeviceType::Cpu) {
    if (source.idle() && !(x.view().block && x.view().block->fault)) return target.upload(block, from, bytes);
    return follow(
        source, target, x, out, [] {}, [=, &target] { target.upload(block, from, bytes); });
  }
  if (target.type() == DeviceType::Cpu)
    return follow(
        source, target, x, out, [=, &source] { source.readNow(from, block->data, bytes); }, [] {});
  std::string problem;
  cudaBackend(problem)->transfer(source, target, {x.impl()->storage, from, block, bytes});
}

}  // namespace

Tensor movedTo(const Tensor& x, Device& device) {
  if (&x.device() == &device || !x.impl()->storage) return x;
  require(!x.symbolic(), Code::Device, "to: a captured function works on one device, ", x.device().name(),
          "; move tensors before");
  GradMode off(false);
  const Tensor from = x.contiguous() ? x.detach() : contiguous(x.detach());
  const bool hostWrites = from.device().type() == DeviceType::Cpu || device.type() == DeviceType::Cpu;
  Tensor out = emptyTensor(from.spec(), device, hostWrites);
  if (from.size() > 0) copyAcross(from, out);
  return out;
}

const Op<To> to(
    {.name = "to",
     .doc = "`x` on another device: 'cpu', 'cuda', or 'cuda:1' for the second GPU. Itself where it is there.",
     .inputs = {"x"},
     .attrs = {required<&To::device>("device", "the device's name")},
     .view =
         [](const Args<To>& c) {
           Device& device = deviceNamed(c.attrs.device);
           const Tensor moved = movedTo(c.in[0], device);
           return moved.detach();
         },
     .vjp = [](const Vjp<To>& v) { return Tensors{to(v.grad(), {.device = v.in().device().name()})}; }});

}  // namespace anneal::ops
