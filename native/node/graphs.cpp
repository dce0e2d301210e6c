#include "graph/capture.h"
#include "graph/program.h"
#include "node/environment.h"

namespace anneal::node {
namespace {

using Info = Napi::CallbackInfo;

Capture& capturing(Environment& env) {
  require(bool(env.capture), Code::Internal, "compile: nothing is being captured");
  return *env.capture;
}

Program& programAt(Environment& env, const Napi::Value& id) {
  auto found = env.programs.find(id.ToNumber().Int32Value());
  require(found != env.programs.end(), Code::Internal, "compile: there is no such graph");
  return found->second;
}

/// beginCapture(handles): calls go into a graph from now on; gives handles that stand for the arguments in it.
Napi::Value beginCapture(const Info& info) {
  Napi::Env js = info.Env();
  Environment& env = Environment::of(js);
  return env.guarded(js.Undefined(), [&]() -> Napi::Value {
    std::vector<Spec> specs;
    Device* device = nullptr;
    for (const Tensor& t : tensorsOf(env, info[0])) {
      specs.push_back(t.spec());
      if (!t.impl()->storage) continue;
      require(!device || device == &t.device(), Code::Device,
              "compile: the arguments are on different devices: ", device ? device->name() : "", " and ",
              t.device().name(), "; move them with to()");
      device = &t.device();
    }
    env.capture = std::make_unique<Capture>(specs, device ? *device : defaultDevice());
    Tensors arguments;
    for (size_t i = 0; i < specs.size(); ++i) arguments.push_back(env.capture->argument(i));
    return handlesOf(env, js, arguments);
  });
}

/// finishCapture(handles): the number of the program that computes these results; -1 after an error. Either way the
/// capture is over.
Napi::Value finishCapture(const Info& info) {
  Environment& env = Environment::of(info.Env());
  const int id = env.guarded(-1, [&] {
    Tensors results = tensorsOf(env, info[0]);
    env.programs.emplace(env.nextProgram, Program(capturing(env).finish(results)));
    return env.nextProgram++;
  });
  env.capture = nullptr;
  return Napi::Number::New(info.Env(), id);
}

/// abortCapture(): as if it had not begun.
void abortCapture(const Info& info) {
  Environment& env = Environment::of(info.Env());
  env.guarded(false, [&] {
    env.capture = nullptr;
    return true;
  });
}

/// pauseCapture(on): with true calls run at once for a while.
void pauseCapture(const Info& info) {
  Environment& env = Environment::of(info.Env());
  if (info[0].ToBoolean()) env.paused = std::exchange(env.context.capture, nullptr);
  else env.context.capture = std::exchange(env.paused, nullptr);
}

/// captureRegion(region): what is captured from now on belongs to `region`, a new one if negative; gives the one
/// before.
Napi::Value captureRegion(const Info& info) {
  Environment& env = Environment::of(info.Env());
  const int region = info[0].ToNumber();
  return Napi::Number::New(info.Env(), env.guarded(-1, [&] {
    Capture& capture = capturing(env);
    return capture.enterRegion(region < 0 ? capture.newRegion() : region);
  }));
}

/// liveNumber(): a handle of a scalar whose value comes with every run.
Napi::Value liveNumber(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return Napi::Number::New(info.Env(), env.guarded(-1.0, [&] { return env.add(capturing(env).number()); }));
}

/// The handles of arguments that JavaScript left in the scratch array after their count.
Tensors argumentsFrom(Environment& env, Reader& in) {
  Tensors out(size_t(in.next()));
  for (Tensor& t : out) t = env.at(in.next());
  return out;
}

/// programFits(id, recordsGradients): whether the arguments in scratch and everything else are as when it was captured;
/// -1 after an error.
Napi::Value programFits(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return Napi::Number::New(info.Env(), env.guarded(-1, [&] {
    Reader in(env.scratch);
    return programAt(env, info[0]).fits(argumentsFrom(env, in), info[1].ToBoolean()) ? 1 : 0;
  }));
}

/// runProgram(id): arguments and then numbers in scratch; leaves the results' handles there, after a place for their
/// count, which it gives; or -1 after an error.
Napi::Value runProgram(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return Napi::Number::New(info.Env(), env.guarded(-1, [&] {
    Program& program = programAt(env, info[0]);
    Reader in(env.scratch);
    Tensors arguments = argumentsFrom(env, in);
    Tensors results = program.run(arguments, {in.at(), program.numbers()});
    require(results.size() < env.scratchSize, Code::Internal, "compile: too many results");
    for (size_t i = 0; i < results.size(); ++i) env.scratch[i + 1] = env.add(std::move(results[i]));
    return int(results.size());
  }));
}

void freeProgram(const Info& info) { Environment::of(info.Env()).programs.erase(info[0].ToNumber().Int32Value()); }

/// profileProgram(id): the next run measures every operation.
void profileProgram(const Info& info) {
  Environment& env = Environment::of(info.Env());
  env.guarded(false, [&] {
    programAt(env, info[0]).profileNext();
    return true;
  });
}

Napi::Array textsFrom(Napi::Env js, const std::vector<std::string>& list) {
  auto out = Napi::Array::New(js, list.size());
  for (size_t i = 0; i < list.size(); ++i) out.Set(uint32_t(i), list[i]);
  return out;
}

/// describeProgram(id): its operations, the bytes of its arena, the most that are in use at one time, and notes.
Napi::Value describeProgram(const Info& info) {
  Napi::Env js = info.Env();
  Environment& env = Environment::of(js);
  return env.guarded(js.Undefined(), [&]() -> Napi::Value {
    const Program& program = programAt(env, info[0]);
    auto operations = Napi::Array::New(js);
    for (const Description& d : program.describe()) {
      auto entry = Napi::Object::New(js);
      entry.Set("name", d.name);
      entry.Set("inputs", textsFrom(js, d.inputs));
      entry.Set("outputs", textsFrom(js, d.outputs));
      entry.Set("attributes", d.attributes);
      entry.Set("work", d.operations);
      entry.Set("bytes", d.bytes);
      entry.Set("live", d.live);
      entry.Set("nanoseconds", d.nanoseconds);
      operations.Set(operations.Length(), entry);
    }
    auto out = Napi::Object::New(js);
    out.Set("operations", operations);
    out.Set("arenaBytes", double(program.arenaBytes()));
    out.Set("liveBytes", double(program.liveBytes()));
    if (const auto replays = program.replays()) {
      auto counts = Napi::Object::New(js);
      counts.Set("recorded", double(replays->recorded));
      counts.Set("replayed", double(replays->replayed));
      counts.Set("separate", double(replays->separate));
      counts.Set("problem", replays->problem);
      out.Set("replays", counts);
    }
    out.Set("notes", textsFrom(js, program.notes()));
    return out;
  });
}

}  // namespace

void exportGraphs(Napi::Env env, Napi::Object exports) {
  exports.Set("beginCapture", Napi::Function::New(env, beginCapture));
  exports.Set("finishCapture", Napi::Function::New(env, finishCapture));
  exports.Set("abortCapture", Napi::Function::New(env, abortCapture));
  exports.Set("pauseCapture", Napi::Function::New(env, pauseCapture));
  exports.Set("captureRegion", Napi::Function::New(env, captureRegion));
  exports.Set("liveNumber", Napi::Function::New(env, liveNumber));
  exports.Set("programFits", Napi::Function::New(env, programFits));
  exports.Set("runProgram", Napi::Function::New(env, runProgram));
  exports.Set("freeProgram", Napi::Function::New(env, freeProgram));
  exports.Set("profileProgram", Napi::Function::New(env, profileProgram));
  exports.Set("describeProgram", Napi::Function::New(env, describeProgram));
}

}  // namespace anneal::node
