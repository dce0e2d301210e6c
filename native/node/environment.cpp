#include "node/environment.h"

#include <algorithm>
#include <cstdlib>
#include <random>

namespace anneal::node {
namespace {
constexpr size_t kMostSlots = (size_t(1) << 31) - 1;  // V8 keeps numbers below 2^31 in place; the last is never used
constexpr int64_t kReport = int64_t(1) << 22;

/// What a tensor takes, with what describes it: of small ones that is the most. A broadcast view holds no more than the
/// memory behind it.
int64_t bytesOf(const Tensor& t) {
  constexpr auto kDescription = int64_t(sizeof(TensorImpl) + sizeof(Block));
  const auto& storage = t.impl()->storage;
  return kDescription + (storage ? std::min(t.size() * int64_t(itemSize(t.dtype())), int64_t(storage->bytes)) : 0);
}
}  // namespace

Environment::Environment(Napi::Env env) : js_(env) {
  context.generator.seed = int64_t(std::random_device{}());
  completions_ = Completions::New(env, "anneal", 0, 1, this);
  completions_.Unref(env);
  // Queued work may write into this environment's array buffers and calls `completions_`: they must not go before it is
  // done. Hooks run in reverse order, so this one comes before that of `completions_`.
  env.AddCleanupHook([] {
    for (Device* device : startedDevices()) device->synchronize();
  });
}

Environment& Environment::of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Environment*>(data);
}

/// V8 collects sooner when it knows what hangs on its objects; it is told in large steps, since telling is dear.
void Environment::account(int64_t bytes) {
  unreported_ += bytes;
  if (std::abs(unreported_) < kReport) return;
  int64_t total;
  napi_adjust_external_memory(js_, unreported_, &total);
  unreported_ = 0;
}

double Environment::add(Tensor tensor) {
  account(bytesOf(tensor));
  ++live_;
  if (freeSlots_.empty()) {
    require(slots_.size() < kMostSlots, Code::Memory, "too many live tensors: ", slots_.size());
    slots_.push_back(std::move(tensor));
    return double(slots_.size() - 1);
  }
  const uint32_t index = freeSlots_.back();
  freeSlots_.pop_back();
  slots_[index] = std::move(tensor);
  return double(index);
}

const Tensor& Environment::cell(double handle) {
  require(handle >= 0 && handle < double(slots_.size()) && slots_[size_t(handle)], Code::State,
          "the tensor was disposed");
  return slots_[size_t(handle)];
}

const Tensor& Environment::at(double handle) {
  const Tensor& t = cell(handle);
  if (context.capture) return context.capture->seen(t);
  if (t.symbolic()) [[unlikely]]
    Capture::requireAlive(t);
  return t;
}

const AttrsRef& Environment::defaultsOf(const Row& row) {
  if (size_t(row.id) >= defaults_.size()) defaults_.resize(size_t(row.id) + 1);
  AttrsRef& attrs = defaults_[size_t(row.id)];
  if (!attrs) attrs = row.defaults();
  return attrs;
}

void Environment::free(double handle) {
  if (!(handle >= 0 && handle < double(slots_.size())) || !slots_[size_t(handle)]) return;
  Tensor gone = std::move(slots_[size_t(handle)]);
  account(-bytesOf(gone));
  --live_;
}

void Environment::release(double handle) {
  if (!(handle >= 0 && handle < double(slots_.size()))) return;
  free(handle);
  freeSlots_.push_back(uint32_t(handle));
}

void Environment::defer(Device& device, std::function<void()> work, std::function<void(Napi::Env)> settle) {
  auto owned = std::make_unique<Settle>(std::move(settle));
  Settle* done = owned.get();
  pending_.emplace(done, std::move(owned));
  device.whenDone([work = std::move(work), done, completions = completions_] {
    work();
    completions.BlockingCall(done);  // the queue has no bound: this does not wait
  });
  if (pending_.size() == 1) completions_.Ref(js_);
}

void Environment::onSettle(Napi::Env env, Napi::Function, Environment* self, Settle* settle) {
  if (!env) return;  // the environment is being torn down
  auto owned = self->pending_.extract(settle);
  if (self->pending_.empty()) self->completions_.Unref(env);
  Napi::HandleScope scope(env);
  (*settle)(env);
}

Napi::Value Environment::errorOf(Napi::Env env, const Error& e) {
  Napi::Error error = Napi::Error::New(env, e.what());
  error.Set("code", codeName(e.code()));
  return error.Value();
}

Tensors tensorsOf(Environment& env, const Napi::Value& handles) {
  auto list = handles.As<Napi::Array>();
  Tensors out;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    double handle = list.Get(i).ToNumber().DoubleValue();
    out.push_back(handle < 0 ? Tensor() : env.at(handle));
  }
  return out;
}

Napi::Array handlesOf(Environment& env, Napi::Env js, const Tensors& tensors) {
  auto out = Napi::Array::New(js, tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) out.Set(uint32_t(i), tensors[i] ? env.add(tensors[i]) : -1.0);
  return out;
}

}  // namespace anneal::node
