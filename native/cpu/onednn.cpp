#include "cpu/onednn.h"

#ifdef ANNEAL_ONEDNN
#include "cpu/workspace.h"

namespace anneal::cpu::onednn {

dnnl::engine& engine() {
  static auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

dnnl::stream& stream() {
  static auto* stream = new dnnl::stream(engine());
  return *stream;
}

dnnl::primitive_attr userScratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

dnnl::memory::data_type dataType(DType dtype) {
  using Type = dnnl::memory::data_type;
  switch (dtype) {
    case DType::Float32: return Type::f32;
    case DType::BFloat16: return Type::bf16;
    case DType::Float16: return Type::f16;
    case DType::Int32: return Type::s32;
    case DType::Int8: return Type::s8;
    case DType::UInt8: return Type::u8;
    default: fail(Code::Internal, "oneDNN has no ", dtype);
  }
}

dnnl::memory::dims dims(const Dims& d) { return dnnl::memory::dims(d.begin(), d.end()); }

dnnl::memory::desc strided(DType dtype, const Shape& shape, const Strides& strides) {
  return {dims(shape), dataType(dtype), dims(strides)};
}

bool fastBFloat16() {
  static const bool fast = dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_bf16;
  return fast;
}

size_t Key::hash() const {
  size_t h = parts_.size();
  for (int64_t p : parts_) h = (h ^ size_t(p)) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
  return h;
}

Prepared::Prepared(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
                   const std::vector<Argument>& arguments)
    : primitive_(primitive), scratchpad_(scratchpad.get_size()) {
  for (const auto& [id, desc] : arguments) {
    ids_.push_back(id);
    memories_.emplace_back(desc, engine(), nullptr);
  }
  if (scratchpad_) {
    ids_.push_back(DNNL_ARG_SCRATCHPAD);
    memories_.emplace_back(scratchpad, engine(), nullptr);
  }
  for (size_t i = 0; i < ids_.size(); ++i) arguments_.push_back({ids_[i], memories_[i].get()});
}

void Prepared::run(std::initializer_list<const void*> data) {
  size_t i = 0;
  for (const void* at : data) dnnl_memory_set_data_handle(arguments_[i++].memory, const_cast<void*>(at));
  if (scratchpad_) dnnl_memory_set_data_handle(arguments_[i].memory, workspace(Purpose::Primitive, scratchpad_));
  dnnl_status_t status =
      dnnl_primitive_execute(primitive_.get(), stream().get(), int(arguments_.size()), arguments_.data());
  require(status == dnnl_success, Code::Internal, "oneDNN could not run a primitive: status ", int(status));
}

void followThreads() {
  if (omp_get_max_threads() != threads()) omp_set_num_threads(threads());
}

}  // namespace anneal::cpu::onednn
#endif
