#pragma once
#include <napi.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/tensor.h"
#include "graph/capture.h"
#include "graph/program.h"
#include "op/row.h"
#include "runtime/context.h"

namespace anneal::node {

/// What one JavaScript environment (main thread or worker) owns: its tensors by handle, its gradient mode and
/// generator. A handle is the number of a slot, which stays taken until whoever held the handle is gone for good: a
/// handle whose tensor was disposed of never names another.
class Environment {
 public:
  explicit Environment(Napi::Env env);
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
  static Environment& of(napi_env env);

  double add(Tensor tensor);
  /// The tensor as calls take it: while a function is captured, the graph's name for it.
  const Tensor& at(double handle);
  /// The tensor itself: the cell, where it is one.
  const Tensor& cell(double handle);
  /// Lets go of the tensor; `release` also gives the handle to the next.
  void free(double handle);
  void release(double handle);
  /// The attributes of a call that gives none.
  const AttrsRef& defaultsOf(const Row& row);
  int64_t live() const { return live_; }

  /// Runs `work`; an anneal::Error is kept for lastError() and `onError` returned.
  template <class R, class F>
  R guarded(R onError, F&& work) {
    ContextScope scope(context);
    try {
      return work();
    } catch (const Error& e) {
      code = codeName(e.code());
      message = e.what();
    } catch (const std::bad_alloc&) {
      code = codeName(Code::Memory);
      message = "out of memory";
    } catch (const Napi::Error&) {
      throw;
    } catch (const std::exception& e) {
      code = codeName(Code::Internal);
      message = e.what();
    }
    return onError;
  }

  /// Queues `work` for when all that the device has been given is done; `settle` runs later on this environment's
  /// thread. The environment stays alive until then, and is not torn down while the stream works for it; where it is
  /// terminated first, `settle` never runs.
  void defer(Device& device, std::function<void()> work, std::function<void(Napi::Env)> settle);

  /// The JavaScript error for `e`, with its code.
  static Napi::Value errorOf(Napi::Env env, const Error& e);

  Context context;
  std::string code, message;  // of the last error
  double* scratch = nullptr;  // the shared array through which calls pass numbers
  size_t scratchSize = 0;
  Napi::ObjectReference scratchArray;
  std::unique_ptr<Capture> capture;
  Capture* paused = nullptr;  // a capture that calls do not go to at the moment
  std::unordered_map<int, Program> programs;
  int nextProgram = 0;
  Tensors spareInputs;  // empty: memory for the inputs of the next call

 private:
  using Settle = std::function<void(Napi::Env)>;
  static void onSettle(Napi::Env env, Napi::Function, Environment* self, Settle* settle);
  using Completions = Napi::TypedThreadSafeFunction<Environment, Settle, &Environment::onSettle>;

  std::vector<Tensor> slots_;
  std::vector<uint32_t> freeSlots_;
  int64_t live_ = 0;
  std::vector<AttrsRef> defaults_;  // by the row's id
  Completions completions_;
  // What is to be settled. It refers to JavaScript values, so it lives and dies on this environment's thread: the
  // stream's only passes the address through.
  std::unordered_map<Settle*, std::unique_ptr<Settle>> pending_;
  void account(int64_t bytes);
  napi_env js_;
  int64_t unreported_ = 0;  // bytes that V8 has not been told of
};

/// A list of handles from JavaScript as tensors, and back.
Tensors tensorsOf(Environment& env, const Napi::Value& handles);
Napi::Array handlesOf(Environment& env, Napi::Env js, const Tensors& tensors);

// Each part of the addon puts its functions into `exports`.
void exportCall(Napi::Env env, Napi::Object exports);
void exportTensors(Napi::Env env, Napi::Object exports);
void exportGraphs(Napi::Env env, Napi::Object exports);
void exportGradients(Napi::Env env, Napi::Object exports);
void exportSchema(Napi::Env env, Napi::Object exports);
void exportRuntime(Napi::Env env, Napi::Object exports);
void exportMapped(Napi::Env env, Napi::Object exports);

}  // namespace anneal::node
