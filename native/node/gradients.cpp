#include "graph/tape.h"
#include "node/environment.h"
#include "op/precision.h"

namespace anneal::node {
namespace {

using Info = Napi::CallbackInfo;

/// The modes of a pass while JavaScript is called, whose calls carry modes of their own.
class PassKept {
 public:
  explicit PassKept(Context& context) : recording_(context.gradEnabled) {}

 private:
  GradMode recording_;
  AutocastOff exact_;
};

BackwardOptions optionsFrom(const Info& info, size_t i) {
  return {.retainGraph = info[i].ToBoolean(), .createGraph = info[i + 1].ToBoolean()};
}

/// requireGrad(handle, on): makes the tensor a leaf, or no longer one.
Napi::Value makeLeaf(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return Napi::Boolean::New(info.Env(), env.guarded(false, [&] {
    Tensor t = env.cell(info[0].ToNumber());
    if (env.context.capture) env.context.capture->decide(t);
    if (info[1].ToBoolean()) requireGrad(t);
    else freeze(t);
    return true;
  }));
}

/// detach(handle): the same value outside the record.
Napi::Value detach(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return Napi::Number::New(info.Env(), env.guarded(-1.0, [&] { return env.add(env.at(info[0].ToNumber()).detach()); }));
}

/// grad(handle): the gradient collected in a leaf; -2 where there is none yet.
Napi::Value grad(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return Napi::Number::New(info.Env(), env.guarded(-1.0, [&] {
    const auto& leaf = env.cell(info[0].ToNumber()).impl()->provenance.leaf;
    if (leaf && env.context.capture) env.context.capture->touch(leaf, true);
    return leaf && leaf->grad ? env.add(leaf->grad) : -2.0;
  }));
}

/// setGrad(handle, gradient): replaces what a leaf has collected; -1 clears it.
Napi::Value setGrad(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return Napi::Boolean::New(info.Env(), env.guarded(false, [&] {
    const Tensor& t = env.cell(info[0].ToNumber());
    double handle = info[1].ToNumber();
    const auto& leaf = t.impl()->provenance.leaf;
    require(bool(leaf) || handle < 0, Code::Gradient, "grad: the tensor does not collect a gradient");
    if (!leaf) return true;
    if (env.context.capture) env.context.capture->touch(leaf, false);
    require(handle < 0 || env.at(handle).spec() == t.spec(), Code::Shape, "grad: expected ", t.spec(), "; got ",
            handle < 0 ? Tensor() : env.at(handle));
    leaf->grad = handle < 0 ? Tensor() : env.at(handle).detach();
    return true;
  }));
}

/// backward(root, seed or -1, retainGraph, createGraph)
Napi::Value runBackward(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return Napi::Boolean::New(info.Env(), env.guarded(false, [&] {
    double seed = info[1].ToNumber();
    backward({env.at(info[0].ToNumber())}, {seed < 0 ? Tensor() : env.at(seed)}, optionsFrom(info, 2));
    return true;
  }));
}

/// gradients(roots, seeds, wanted, retainGraph, createGraph): handles, -1 where nothing depends; undefined after an
/// error.
Napi::Value runGradients(const Info& info) {
  Napi::Env js = info.Env();
  Environment& env = Environment::of(js);
  return env.guarded(js.Undefined(), [&]() -> Napi::Value {
    return handlesOf(
        env, js,
        gradients(tensorsOf(env, info[0]), tensorsOf(env, info[1]), tensorsOf(env, info[2]), optionsFrom(info, 3)));
  });
}

/// custom(inputs, outputs, gradient): gives outputs a gradient made in JavaScript, from handles to handles.
Napi::Value custom(const Info& info) {
  Napi::Env js = info.Env();
  Environment& env = Environment::of(js);
  return Napi::Boolean::New(js, env.guarded(false, [&] {
    Tensors inputs = tensorsOf(env, info[0]), outputs = tensorsOf(env, info[1]);
    auto callback = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[2].As<Napi::Function>()));
    recordCustom(inputs, outputs, [&env, callback](const Tensors& grads) {
      Napi::Env js = callback->Env();
      Napi::HandleScope scope(js);
      const PassKept kept(env.context);
      return tensorsOf(env, callback->Call({handlesOf(env, js, grads)}));
    });
    return true;
  }));
}

/// checkpoint(inputs, output, closesOver, again): gives the output the gradient of what `again` makes of handles of the
/// inputs and hands over by its second argument, a function.
Napi::Value checkpoint(const Info& info) {
  Napi::Env js = info.Env();
  Environment& env = Environment::of(js);
  return Napi::Boolean::New(js, env.guarded(false, [&] {
    Tensors inputs = tensorsOf(env, info[0]);
    Tensor output = env.at(info[1].ToNumber());
    auto callback = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[3].As<Napi::Function>()));
    recordCheckpoint(inputs, output, info[2].ToBoolean(), [&env, callback](const Tensors& in) {
      Napi::Env js = callback->Env();
      Napi::HandleScope scope(js);
      const PassKept kept(env.context);
      Tensor result;
      callback->Call({handlesOf(env, js, in), Napi::Function::New(js, [&](const Info& given) -> Napi::Value {
                        return Napi::Boolean::New(js, env.guarded(false, [&] {
                          result = env.at(given[0].ToNumber());
                          return true;
                        }));
                      })});
      return result;
    });
    return true;
  }));
}

/// differentiableCalls(): how many calls have taken tensors that require gradients.
Napi::Value differentiableCalls(const Info& info) {
  return Napi::Number::New(info.Env(), double(Environment::of(info.Env()).context.differentiable));
}

/// dependsOnOthers(handle, own): 1 where a result has other sources that require gradients, else 0; -1 after an error.
Napi::Value hasOthers(const Info& info) {
  Environment& env = Environment::of(info.Env());
  return Napi::Number::New(info.Env(), env.guarded(-1, [&] {
    return dependsOnOthers(env.at(info[0].ToNumber()), tensorsOf(env, info[1])) ? 1 : 0;
  }));
}

}  // namespace

void exportGradients(Napi::Env env, Napi::Object exports) {
  exports.Set("requireGrad", Napi::Function::New(env, makeLeaf));
  exports.Set("detach", Napi::Function::New(env, detach));
  exports.Set("grad", Napi::Function::New(env, grad));
  exports.Set("setGrad", Napi::Function::New(env, setGrad));
  exports.Set("backward", Napi::Function::New(env, runBackward));
  exports.Set("gradients", Napi::Function::New(env, runGradients));
  exports.Set("custom", Napi::Function::New(env, custom));
  exports.Set("checkpoint", Napi::Function::New(env, checkpoint));
  exports.Set("differentiableCalls", Napi::Function::New(env, differentiableCalls));
  exports.Set("dependsOnOthers", Napi::Function::New(env, hasOthers));
}

}  // namespace anneal::node
