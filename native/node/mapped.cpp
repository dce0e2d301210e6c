#include "io/mapped_file.h"

#include "node/environment.h"

namespace anneal::node {
namespace {

Spec specOf(const Napi::Value& dtype, const Napi::Value& sizes) {
  auto list = sizes.As<Napi::Array>();
  Ints shape(list.Length());
  for (uint32_t i = 0; i < list.Length(); ++i) shape[i] = list.Get(i).ToNumber().Int64Value();
  require(shape.size() <= size_t(kMaxRank), Code::Shape, "a tensor has at most ", kMaxRank, " axes; got ",
          shape.size());
  Spec spec{Shape(shape), DType(dtype.ToNumber().Int32Value())};
  checkShape("mapped file", spec.shape);
  return spec;
}

/// mapTensors(path, offsets, dtypes, shapes): the handles of tensors over a file's bytes, undefined after an error.
Napi::Value mapTensors(const Napi::CallbackInfo& info) {
  Environment& env = Environment::of(info.Env());
  return env.guarded(info.Env().Undefined(), [&]() -> Napi::Value {
    auto file = std::make_shared<MappedFile>(info[0].ToString().Utf8Value());
    auto offsets = info[1].As<Napi::Array>(), dtypes = info[2].As<Napi::Array>(), shapes = info[3].As<Napi::Array>();
    Tensors tensors;
    for (uint32_t i = 0; i < offsets.Length(); ++i) {
      auto offset = uint64_t(offsets.Get(i).ToNumber().Int64Value());
      tensors.push_back(mappedTensor(file, offset, specOf(dtypes.Get(i), shapes.Get(i))));
    }
    return handlesOf(env, info.Env(), tensors);
  });
}

/// elements(handle, begin, count): a flat tensor of some of a contiguous one's elements, sharing its memory; -1 after
/// an error. Large tensors are read in such parts.
Napi::Value elements(const Napi::CallbackInfo& info) {
  Environment& env = Environment::of(info.Env());
  double handle = env.guarded(-1.0, [&] {
    const Tensor& t = env.at(info[0].ToNumber().DoubleValue());
    int64_t begin = info[1].ToNumber().Int64Value(), count = info[2].ToNumber().Int64Value();
    require(t.contiguous() && begin >= 0 && count >= 0 && count <= t.size() - begin, Code::Index, "elements: ", count,
            " from ", begin, " on do not lie in a contiguous ", t);
    return env.add(t.detach().alias({count}, {1}, t.impl()->offset + begin));
  });
  return Napi::Number::New(info.Env(), handle);
}

}  // namespace

void exportMapped(Napi::Env env, Napi::Object exports) {
  exports.Set("mapTensors", Napi::Function::New(env, mapTensors));
  exports.Set("elements", Napi::Function::New(env, elements));
}

}  // namespace anneal::node
