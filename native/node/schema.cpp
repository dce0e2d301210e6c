#include "node/environment.h"

namespace anneal::node {
namespace {

template <class List>
Napi::Array strings(Napi::Env env, const List& list) {
  auto out = Napi::Array::New(env, list.size());
  uint32_t i = 0;
  for (const auto& s : list) out.Set(i++, Napi::String::New(env, std::string(s)));
  return out;
}

Napi::Object attribute(Napi::Env env, const Field& f) {
  auto out = Napi::Object::New(env);
  out.Set("name", f.name);
  out.Set("doc", f.doc);
  out.Set("type", f.type);
  out.Set("choices", strings(env, f.choices));
  out.Set("required", f.required);
  out.Set("default", f.fallback);
  return out;
}

Napi::Object describeRow(Napi::Env env, const Row& row) {
  auto out = Napi::Object::New(env);
  out.Set("id", row.id);
  out.Set("name", row.name);
  out.Set("doc", row.doc);
  out.Set("inputs", strings(env, row.inputs));
  out.Set("outputs", strings(env, row.outputs));
  out.Set("method", row.method);
  out.Set("internal", row.internal);
  static constexpr const char* gradients[] = {"vjp", "lower", "nonDifferentiable"};
  out.Set("gradient", gradients[size_t(row.gradient)]);
  out.Set("lowered", bool(row.lower));
  std::vector<std::string> devices;
  if (row.view || row.kernels[size_t(DeviceType::Cpu)]) devices.push_back("cpu");
  if (row.view || row.kernels[size_t(DeviceType::Cuda)]) devices.push_back("cuda");
  out.Set("kernels", strings(env, devices));
  auto attributes = Napi::Array::New(env, row.fields.size());
  for (size_t i = 0; i < row.fields.size(); ++i) attributes.Set(uint32_t(i), attribute(env, row.fields[i]));
  out.Set("attributes", attributes);
  return out;
}

}  // namespace

/// schema(): every row of the registry, from which functions, types and documentation are made.
void exportSchema(Napi::Env env, Napi::Object exports) {
  exports.Set("schema", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                const auto& rows = Registry::get().rows();
                auto out = Napi::Array::New(info.Env(), rows.size());
                for (size_t i = 0; i < rows.size(); ++i) out.Set(uint32_t(i), describeRow(info.Env(), *rows[i]));
                return out;
              }));
}

}  // namespace anneal::node
