#include "cpu/info.h"
#include "cpu/parallel.h"
#include "node/environment.h"
#include "ops/allreduce.h"
#include "runtime/backend.h"
#include "runtime/float32.h"

namespace anneal::node {
namespace {

using Info = Napi::CallbackInfo;

/// The device that a string names; where there is none, the environment's.
Device& chosen(const Napi::Value& name) {
  return name.IsString() ? deviceNamed(name.As<Napi::String>().Utf8Value()) : defaultDevice();
}

/// A function of a device that may be named by argument `Place`; false after an error.
template <int Place, class F>
Napi::Function onDevice(Napi::Env env, F f) {
  return Napi::Function::New(env, [f](const Info& info) -> Napi::Value {
    const bool ok = Environment::of(info.Env()).guarded(false, [&] {
      f(info, chosen(info[size_t(Place)]));
      return true;
    });
    return Napi::Boolean::New(info.Env(), ok);
  });
}

/// memory(device?): its counters; undefined after an error.
Napi::Value memory(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return env.guarded(info.Env().Undefined(), [&]() -> Napi::Value {
    auto out = Napi::Object::New(info.Env());
    MemoryStats stats = chosen(info[0]).memory();
    out.Set("tensors", double(env.live()));
    out.Set("used", double(stats.used));
    out.Set("pooled", double(stats.pooled));
    out.Set("peak", double(stats.peak));
    out.Set("limit", double(stats.limit));
    out.Set("blocks", double(stats.blocks));
    out.Set("allocations", double(stats.misses));
    return out;
  });
}

/// synchronize(): a promise that all that was queued so far is done, on all devices.
Napi::Value synchronize(const Info& info) {
  Napi::Env js = info.Env();
  auto deferred = Napi::Promise::Deferred::New(js);
  std::vector<Device*> busy = startedDevices();
  std::erase_if(busy, [](Device* d) { return d->idle(); });
  auto left = std::make_shared<size_t>(busy.size());
  if (busy.empty()) deferred.Resolve(js.Undefined());
  for (Device* device : busy) {
    Environment::of(js).defer(
        *device, [] {},
        [deferred, left](Napi::Env env) {
          if (--*left == 0) deferred.Resolve(env.Undefined());
        });
  }
  return deferred.Promise();
}

/// device(name?): the name of the default device, after making the named one the default; undefined after an error.
Napi::Value defaultDeviceOf(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return env.guarded(info.Env().Undefined(), [&]() -> Napi::Value {
    if (info[0].IsString()) env.context.device = &chosen(info[0]);
    return Napi::String::New(info.Env(), defaultDevice().name());
  });
}

/// devices(): the name and the hardware of each.
Napi::Value devices(const Info& info) {
  auto list = Napi::Array::New(info.Env());
  for (Device* device : allDevices()) {
    auto entry = Napi::Object::New(info.Env());
    entry.Set("name", device->name());
    entry.Set("hardware", device->hardware());
    list.Set(list.Length(), entry);
  }
  return list;
}

/// allReduce(handles, mean, recordGradients): as many handles; undefined after an error.
Napi::Value allReduce(const Info& info) {
  Napi::Env js = info.Env();
  Environment& env = Environment::of(js);
  return env.guarded(js.Undefined(), [&]() -> Napi::Value {
    GradMode mode(info[2].ToBoolean());
    return handlesOf(env, js, ops::allReduce(tensorsOf(env, info[0]), info[1].ToBoolean()));
  });
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

/// doctorCuda(): what the CUDA backend says of itself, and `problem` where there is no GPU.
Napi::Value doctorCuda(const Info& info) {
  auto out = Napi::Object::New(info.Env());
  if (const std::string problem = cudaProblem(); !problem.empty()) out.Set("problem", problem);
  for (const auto& [key, value] : describeCuda()) out.Set(key, value);
  return out;
}

}  // namespace

void exportRuntime(Napi::Env env, Napi::Object exports) {
  exports.Set("memory", Napi::Function::New(env, memory));
  exports.Set("device", Napi::Function::New(env, defaultDeviceOf));
  exports.Set("devices", Napi::Function::New(env, devices));
  exports.Set("resetPeak", onDevice<0>(env, [](const Info&, Device& d) { d.resetPeak(); }));
  exports.Set("setMemoryLimit", onDevice<1>(env, [](const Info& i, Device& d) {
                d.setMemoryLimit(size_t(i[0].ToNumber().DoubleValue()));
              }));
  exports.Set("emptyCache", onDevice<0>(env, [](const Info&, Device& d) { d.emptyCache(); }));
  exports.Set("synchronize", Napi::Function::New(env, synchronize));
  exports.Set("synchronizeSync", Napi::Function::New(env, [](const Info&) {
                for (Device* device : startedDevices()) device->synchronize();
              }));
  exports.Set("quiesce", Napi::Function::New(env, [](const Info&) {
                for (Device* device : startedDevices()) device->quiesce();
              }));
  exports.Set("allReduce", Napi::Function::New(env, allReduce));
  exports.Set("generator", Napi::Function::New(env, generator));
  exports.Set("threads",
              Napi::Function::New(env, [](const Info& i) { return Napi::Number::New(i.Env(), cpu::threads()); }));
  exports.Set("setThreads", Napi::Function::New(env, [](const Info& i) { cpu::setThreads(i[0].ToNumber()); }));
  exports.Set("fastFloat32",
              Napi::Function::New(env, [](const Info& i) { return Napi::Boolean::New(i.Env(), fastFloat32()); }));
  exports.Set("setFastFloat32", Napi::Function::New(env, [](const Info& i) { setFastFloat32(i[0].ToBoolean()); }));
  exports.Set("doctor", Napi::Function::New(env, doctor));
  exports.Set("doctorCuda", Napi::Function::New(env, doctorCuda));
  exports.Set("offerCudaLibrary",
              Napi::Function::New(env, [](const Info& i) { offerCudaLibrary(i[0].ToString(), i[1].ToString()); }));
}

}  // namespace anneal::node
