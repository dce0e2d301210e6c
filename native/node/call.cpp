#include "node/environment.h"
#include "op/precision.h"
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

/// The attributes as JavaScript gave them, in `attrs`; calls that give none share one object.
const AttrsRef& readAttributes(Environment& env, const Row& row, Reader& in, AttrsRef& given) {
  std::shared_ptr<void> attrs;
  for (const Field& f : row.fields) {
    if (in.next() != 0) {
      if (!attrs) attrs = row.defaults();
      try {
        f.read(attrs.get(), in);
      } catch (const Error& e) {
        fail(e.code(), row.name, ": ", e.what());
      }
    } else {
      require(!f.required, Code::Value, row.name, ": attribute '", f.name, "' is missing");
    }
  }
  if (!attrs) return env.defaultsOf(row);
  return given = std::move(attrs);
}

/// Scratch in: the op's id times 16 and mode bits (1: record gradients, 2: prefer compositions to kernels, 4 and 8:
/// compute products in bfloat16 or float16, both: in bfloat16, and those of linear layers in 8 bits); each input
/// (a variadic one after its count); each attribute after its presence. Scratch out: how many outputs, and their
/// handles; or -1 after an error.
double call(Environment& env) {
  return env.guarded(-1.0, [&] {
    Reader in(env.scratch);
    auto head = int(in.next());
    const Row& row = Registry::get().row(head >> 4);
    env.context.gradEnabled = head & 1;
    env.context.preferLower = head & 2;
    env.context.autocast = head & 4 ? DType::BFloat16 : (head & 8 ? DType::Float16 : DType::Float32);
    wantFp8((head & 12) == 12);
    Tensors inputs = std::move(env.spareInputs);
    for (size_t i = 0; i < row.inputs.size(); ++i) {
      auto count = row.variadic(i) ? int64_t(in.next()) : 1;
      for (int64_t k = 0; k < count; ++k) inputs.push_back(readInput(env, in));
    }
    AttrsRef given;
    Tensors outputs = dispatch(row, inputs, readAttributes(env, row, in, given));
    require(outputs.size() < env.scratchSize, Code::Internal, row.name, ": too many outputs");
    for (size_t i = 0; i < outputs.size(); ++i) env.scratch[i + 1] = env.add(std::move(outputs[i]));
    inputs.clear();
    env.spareInputs = std::move(inputs);
    return double(outputs.size());
  });
}

/// Numbers pass through scratch alone: Node-API's own take longer than a small op.
napi_value callOp(napi_env js, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(js, info, nullptr, nullptr, nullptr, &data);
  auto& env = *static_cast<Environment*>(data);
  env.scratch[0] = call(env);
  return nullptr;
}

}  // namespace

void exportCall(Napi::Env env, Napi::Object exports) {
  Environment& self = Environment::of(env);
  napi_value function;
  // Fails in a worker that is terminated while it loads the addon.
  if (napi_create_function(env, "call", NAPI_AUTO_LENGTH, callOp, &self, &function) != napi_ok)
    throw Napi::Error::New(env);
  exports.Set("call", Napi::Value(env, function));
  // bind(array): the array that is read and written in place, as large as the largest call: the first that was bound.
  // JavaScript may be loaded more than once into one environment, as test runners do.
  exports.Set("bind", Napi::Function::New(env, [&self](const Napi::CallbackInfo& info) -> Napi::Value {
                if (self.scratch) return self.scratchArray.Value();
                auto array = info[0].As<Napi::Float64Array>();
                self.scratch = array.Data();
                self.scratchSize = array.ElementLength();
                self.scratchArray = Napi::Persistent(array.As<Napi::Object>());
                return array;
              }));
  exports.Set("lastError", Napi::Function::New(env, [&self](const Napi::CallbackInfo& info) {
                auto error = Napi::Object::New(info.Env());
                error.Set("code", self.code);
                error.Set("message", self.message);
                return error;
              }));
}

}  // namespace anneal::node
