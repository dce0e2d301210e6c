#include "node/environment.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  anneal::Registry::get().rows();  // gives the ops their ids, which calls may use at once
  env.SetInstanceData(new anneal::node::Environment(env));
  anneal::node::exportCall(env, exports);
  anneal::node::exportTensors(env, exports);
  anneal::node::exportGradients(env, exports);
  anneal::node::exportGraphs(env, exports);
  anneal::node::exportSchema(env, exports);
  anneal::node::exportRuntime(env, exports);
  anneal::node::exportMapped(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(anneal, init)
