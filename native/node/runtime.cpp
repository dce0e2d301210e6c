#include "cpu/info.h"
#include "cpu/parallel.h"
#include "node/environment.h"

namespace anneal::node {
namespace {

using Info = Napi::CallbackInfo;

Napi::Value memory(const Info& info) {
  auto out = Napi::Object::New(info.Env());
  MemoryStats stats = device().memory();
  out.Set("tensors", double(Environment::of(info.Env()).live()));
  out.Set("used", double(stats.used));
  out.Set("pooled", double(stats.pooled));
  out.Set("peak", double(stats.peak));
  out.Set("limit", double(stats.limit));
  out.Set("blocks", double(stats.blocks));
  out.Set("allocations", double(stats.misses));
  return out;
}

/// synchronize(): a promise that all that was queued so far is done.
Napi::Value synchronize(const Info& info) {
  Napi::Env js = info.Env();
  auto deferred = Napi::Promise::Deferred::New(js);
  if (device().idle()) deferred.Resolve(js.Undefined());
  else
    Environment::of(js).defer(
        device(), [] {}, [deferred](Napi::Env env) { deferred.Resolve(env.Undefined()); });
  return deferred.Promise();
}

Napi::Value generator(const Info& info) {
  Generator& g = Environment::of(info.Env()).context.generator;
  if (info.Length() == 2) g = {.seed = info[0].ToNumber().Int64Value(), .offset = info[1].ToNumber().Int64Value()};
  auto out = Napi::Array::New(info.Env(), 2);
  out.Set(0u, double(g.seed));
  out.Set(1u, double(g.offset));
  return out;
}

Napi::Value doctor(const Info& info) {
  auto out = Napi::Object::New(info.Env());
  for (const auto& [key, value] : cpu::describe()) out.Set(key, value);
  return out;
}

}  // namespace

void exportRuntime(Napi::Env env, Napi::Object exports) {
  exports.Set("memory", Napi::Function::New(env, memory));
  exports.Set("resetPeak", Napi::Function::New(env, [](const Info&) { device().resetPeak(); }));
  exports.Set("setMemoryLimit", Napi::Function::New(env, [](const Info& i) {
                device().setMemoryLimit(size_t(i[0].ToNumber().DoubleValue()));
              }));
  exports.Set("emptyCache", Napi::Function::New(env, [](const Info&) { device().emptyCache(); }));
  exports.Set("synchronize", Napi::Function::New(env, synchronize));
  exports.Set("synchronizeSync", Napi::Function::New(env, [](const Info&) { device().synchronize(); }));
  exports.Set("quiesce", Napi::Function::New(env, [](const Info&) { device().quiesce(); }));
  exports.Set("generator", Napi::Function::New(env, generator));
  exports.Set("threads",
              Napi::Function::New(env, [](const Info& i) { return Napi::Number::New(i.Env(), cpu::threads()); }));
  exports.Set("setThreads", Napi::Function::New(env, [](const Info& i) { cpu::setThreads(i[0].ToNumber()); }));
  exports.Set("doctor", Napi::Function::New(env, doctor));
}

}  // namespace anneal::node
