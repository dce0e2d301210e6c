#include "node/environment.h"
#include "ops/creation.h"

namespace anneal::node {
namespace {

// What stands in the place of a handle.
constexpr double kAbsent = -1, kNumber = -2, kBoolean = -3;

Tensor readInput(Environment& env, Reader& in) {
  double handle = in.next();
  if (handle == kAbsent) return {};
  if (handle == kNumber) return ops::number(in.next());
  if (handle == kBoolean) return scalarTensor(in.next(), DType::Bool, true);
  return env.at(handle);
}

/// The attributes as JavaScript gave them; calls that give none share one object.
AttrsRef readAttributes(Environment& env, const Row& row, Reader& in) {
  std::shared_ptr<void> attrs;
  for (const Field& f : row.fields) {
    if (in.next() != 0) {
      if (!attrs) attrs = row.defaults();
      f.read(attrs.get(), in);
    } else {
      require(!f.required, Code::Value, row.name, ": attribute '", f.name, "' is missing");
    }
  }
  return attrs ? attrs : env.defaultsOf(row);
}

/// Scratch in: mode bits (1: record gradients, 2: prefer compositions to kernels); each input (a variadic one after its
/// count); each attribute after its presence. Scratch out: the handles of the outputs. Returns how many, or -1 after an
/// error.
double call(Environment& env, int id) {
  return env.guarded(-1.0, [&] {
    const Row& row = Registry::get().row(id);
    Reader in(env.scratch);
    auto mode = int(in.next());
    env.context.gradEnabled = mode & 1;
    env.context.preferLower = mode & 2;
    Tensors inputs;
    inputs.reserve(row.inputs.size());
    for (size_t i = 0; i < row.inputs.size(); ++i) {
      auto count = row.variadic(i) ? int64_t(in.next()) : 1;
      for (int64_t k = 0; k < count; ++k) inputs.push_back(readInput(env, in));
    }
    AttrsRef attrs = readAttributes(env, row, in);
    Tensors outputs = dispatch(row, inputs, attrs);
    require(outputs.size() <= env.scratchSize, Code::Internal, row.name, ": too many outputs");
    for (size_t i = 0; i < outputs.size(); ++i) env.scratch[i] = env.add(std::move(outputs[i]));
    return double(outputs.size());
  });
}

napi_value callOp(napi_env js, napi_callback_info info) {
  size_t count = 1;
  napi_value argument = nullptr, result = nullptr;
  void* data = nullptr;
  napi_get_cb_info(js, info, &count, &argument, nullptr, &data);
  int32_t id = -1;
  napi_get_value_int32(js, argument, &id);
  napi_create_int32(js, int32_t(call(*static_cast<Environment*>(data), id)), &result);
  return result;
}

}  // namespace

void exportCall(Napi::Env env, Napi::Object exports) {
  Environment& self = Environment::of(env);
  napi_value function;
  // Fails in a worker that is terminated while it loads the addon.
  if (napi_create_function(env, "call", NAPI_AUTO_LENGTH, callOp, &self, &function) != napi_ok)
    throw Napi::Error::New(env);
  exports.Set("call", Napi::Value(env, function));
  // The array is read and written in place: it must be as large as the largest call.
  exports.Set("bind", Napi::Function::New(env, [&self](const Napi::CallbackInfo& info) {
                auto array = info[0].As<Napi::Float64Array>();
                self.scratch = array.Data();
                self.scratchSize = array.ElementLength();
                self.scratchArray = Napi::Persistent(array.As<Napi::Object>());
              }));
  exports.Set("lastError", Napi::Function::New(env, [&self](const Napi::CallbackInfo& info) {
                auto error = Napi::Object::New(info.Env());
                error.Set("code", self.code);
                error.Set("message", self.message);
                return error;
              }));
}

}  // namespace anneal::node
