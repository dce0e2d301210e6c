#include <cstring>

#include "node/environment.h"
#include "ops/views.h"
#include "runtime/cells.h"

namespace anneal::node {
namespace {

using Info = Napi::CallbackInfo;
constexpr size_t kCopyNow = 1 << 16;  // bytes worth copying here rather than waking another thread

double number(const Info& info, size_t i) { return info[i].ToNumber().DoubleValue(); }

/// The shape that JavaScript left in the scratch array: its length, then the sizes.
Shape shapeFrom(Environment& env) {
  Ints sizes(size_t(env.scratch[0]));
  for (size_t i = 0; i < sizes.size(); ++i) sizes[i] = detail::toInteger(env.scratch[i + 1], "shape");
  Shape shape(sizes);
  checkShape("tensor", shape);
  return shape;
}

/// fromData(view, dtype, device?): a tensor of the bytes of a typed array, in the shape in scratch. They are copied.
Napi::Value fromData(const Info& info) {
  Environment& env = Environment::of(info.Env());
  double handle = env.guarded(-1.0, [&] {
    auto array = info[0].As<Napi::TypedArray>();
    void* data = nullptr;  // of its first element, also in memory that is shared between threads
    if (napi_get_typedarray_info(info.Env(), array, nullptr, nullptr, &data, nullptr, nullptr) != napi_ok)
      throw Napi::Error::New(info.Env());
    Spec spec{shapeFrom(env), DType(info[1].ToNumber().Int32Value())};
    require(size_t(spec.size()) * itemSize(spec.dtype) == array.ByteLength(), Code::Shape, "tensor: shape ", spec.shape,
            " has ", spec.size(), " elements; the data has ", array.ByteLength() / itemSize(spec.dtype));
    Device& device = info[2].IsString() ? deviceNamed(info[2].As<Napi::String>().Utf8Value()) : defaultDevice();
    Tensor t = emptyTensor(spec, device, true);
    if (array.ByteLength()) device.upload(t.impl()->storage, data, array.ByteLength());
    return env.add(t);
  });
  return Napi::Number::New(info.Env(), handle);
}

/// Bytes of `t` in row-major order, copied into `target` when it is computed; the block's fault is returned.
std::shared_ptr<const Error> copyOut(const Tensor& t, void* target) {
  View v = t.view();
  if (v.block && v.block->fault) return v.block->fault;
  size_t bytes = size_t(v.size()) * itemSize(v.dtype);
  if (v.memory) t.device().readNow(v.memory, target, bytes);
  else if (bytes) std::memcpy(target, v.data(), bytes);
  return nullptr;
}

Tensor readable(Environment& env, double handle) {
  GradMode off(false);
  const Tensor& t = env.at(handle);
  require(!t.symbolic(), Code::State,
          "compile: there are no values while a function is captured: return the tensor and read it outside, or choose "
          "between values with where()");
  return t.contiguous() ? t.detach() : ops::contiguous(t);
}

size_t byteLength(const Tensor& t) { return size_t(t.size()) * itemSize(t.dtype()); }

using Fault = std::shared_ptr<const Error>;
using Deferred = Napi::Promise::Deferred;

void settle(Napi::Env js, const Deferred& deferred, const Fault& fault, const Napi::Value& value) {
  if (fault) deferred.Reject(Environment::errorOf(js, *fault));
  else deferred.Resolve(value);
}

/// Settles `deferred` with `value(js)` when `look`, which gives the fault of what it looks at, has run on the stream.
template <class Look, class Value>
void settleAfter(Environment& env, Device& device, const Deferred& deferred, Look look, Value value) {
  auto fault = std::make_shared<Fault>();
  auto seen = [look, fault] {
    try {
      *fault = look();
    } catch (const Error& e) {  // of a device that found a mistake only when it computed, or was lost
      *fault = std::make_shared<const Error>(e);
    }
  };
  env.defer(device, seen, [fault, deferred, value](Napi::Env js) {
    settle(js, deferred, *fault, *fault ? js.Undefined() : value(js));
  });
}

/// A promise that `start` sees to, and that is rejected with what it throws.
template <class Start>
Napi::Value promised(const Info& info, Start start) {
  Napi::Env js = info.Env();
  Environment& env = Environment::of(js);
  auto deferred = Deferred::New(js);
  bool started = env.guarded(false, [&] {
    start(env, deferred);
    return true;
  });
  if (!started) {
    Napi::Error error = Napi::Error::New(js, env.message);
    error.Set("code", env.code);
    deferred.Reject(error.Value());
  }
  return deferred.Promise();
}

/// read(handle): a promise of an ArrayBuffer with the values in row-major order.
Napi::Value read(const Info& info) {
  return promised(info, [&](Environment& env, const Deferred& deferred) {
    Tensor t = readable(env, number(info, 0));
    auto buffer = Napi::ArrayBuffer::New(info.Env(), byteLength(t));
    auto copy = [t, target = buffer.Data()] { return copyOut(t, target); };
    if (byteLength(t) <= kCopyNow && t.device().idle()) return settle(info.Env(), deferred, copy(), buffer);
    auto kept = std::make_shared<Napi::Reference<Napi::ArrayBuffer>>(Napi::Persistent(buffer));
    settleAfter(env, t.device(), deferred, copy, [kept](Napi::Env) -> Napi::Value { return kept->Value(); });
  });
}

/// ready(handle): a promise that the value has been computed.
Napi::Value ready(const Info& info) {
  return promised(info, [&](Environment& env, const Deferred& deferred) {
    Tensor t = env.at(number(info, 0)).detach();
    require(!t.symbolic(), Code::State, "compile: a captured function cannot wait; return the tensor instead");
    auto look = [t] {
      Block* block = t.view().block;
      if (block && !block->fault) t.device().readNow(t.view().memory, nullptr, 0);
      return block ? block->fault : nullptr;
    };
    if (t.device().idle()) return settle(info.Env(), deferred, look(), info.Env().Undefined());
    settleAfter(env, t.device(), deferred, look, [](Napi::Env js) { return js.Undefined(); });
  });
}

/// readSync(handle): the same at once, blocking; undefined after an error.
Napi::Value readSync(const Info& info) {
  Napi::Env js = info.Env();
  Environment& env = Environment::of(js);
  return env.guarded(js.Undefined(), [&]() -> Napi::Value {
    Tensor t = readable(env, number(info, 0));
    auto buffer = Napi::ArrayBuffer::New(js, byteLength(t));
    t.device().synchronize();
    if (auto fault = copyOut(t, buffer.Data())) throw *fault;
    return buffer;
  });
}

/// deviceOf(handle): the name of its device; undefined after an error.
Napi::Value deviceOf(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return env.guarded(info.Env().Undefined(), [&]() -> Napi::Value {
    return Napi::String::New(info.Env(), env.at(number(info, 0)).device().name());
  });
}

/// describe(handle): dtype, rank, requiresGrad and the sizes into scratch; false after an error.
Napi::Value describe(const Info& info) {
  Environment& env = Environment::of(info.Env());
  bool ok = env.guarded(false, [&] {
    const Tensor& t = env.at(number(info, 0));
    env.scratch[0] = double(t.dtype());
    env.scratch[1] = t.rank();
    env.scratch[2] = t.requiresGrad();
    for (int i = 0; i < t.rank(); ++i) env.scratch[3 + i] = double(t.shape()[i]);
    return true;
  });
  return Napi::Boolean::New(info.Env(), ok);
}

/// assign(target, source, converts, given): gives `target` the value of `source`, whose handle is used up; see
/// Assigning.
Napi::Value assign(const Info& info) {
  Environment& env = Environment::of(info.Env());
  bool ok = env.guarded(false, [&] {
    GradMode off(false);
    const Tensor target = env.cell(number(info, 0)), source = env.at(number(info, 1));
    const bool converts = info[2].ToBoolean();
    if (env.context.capture) {
      require(!target.symbolic() && (!converts || source.dtype() == target.dtype()), Code::State,
              "compile: parameters and buffers cannot be made or converted in a captured function; do it before");
      env.context.capture->assign(target, source);
    } else {
      assign(target, source, {.converts = converts, .given = info[3].ToBoolean()});
    }
    env.free(number(info, 1));
    return true;
  });
  return Napi::Boolean::New(info.Env(), ok);
}

/// free(count), release(count): does so to as many handles in scratch; without the wrapper's cost.
template <void (Environment::*let)(double)>
napi_value letGo(napi_env js, napi_callback_info info) {
  size_t arguments = 1;
  napi_value argument;
  void* data = nullptr;
  int32_t count = 0;
  napi_get_cb_info(js, info, &arguments, &argument, nullptr, &data);
  napi_get_value_int32(js, argument, &count);
  auto& env = *static_cast<Environment*>(data);
  for (int32_t i = 0; i < count; ++i) (env.*let)(env.scratch[i]);
  return nullptr;
}

template <void (Environment::*let)(double)>
void exportLetGo(Napi::Env env, Napi::Object exports, const char* name) {
  napi_value function;
  // Fails in a worker that is terminated while it loads the addon.
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, letGo<let>, &Environment::of(env), &function) != napi_ok)
    throw Napi::Error::New(env);
  exports.Set(name, Napi::Value(env, function));
}

}  // namespace

void exportTensors(Napi::Env env, Napi::Object exports) {
  exports.Set("fromData", Napi::Function::New(env, fromData));
  exports.Set("read", Napi::Function::New(env, read));
  exports.Set("ready", Napi::Function::New(env, ready));
  exports.Set("readSync", Napi::Function::New(env, readSync));
  exports.Set("describe", Napi::Function::New(env, describe));
  exports.Set("deviceOf", Napi::Function::New(env, deviceOf));
  exports.Set("assign", Napi::Function::New(env, assign));
  exportLetGo<&Environment::free>(env, exports, "free");
  exportLetGo<&Environment::release>(env, exports, "release");
}

}  // namespace anneal::node
