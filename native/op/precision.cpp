#include "op/precision.h"

#include <map>
#include <string>

#include "ops/arithmetic.h"
#include "runtime/context.h"

namespace anneal {
namespace {

std::map<std::string, Precision>& named() {
  static auto* precisions = new std::map<std::string, Precision>;
  return *precisions;
}

std::map<std::string, std::string>& fp8Forms() {
  static auto* forms = new std::map<std::string, std::string>;
  return *forms;
}

thread_local bool fp8Wanted = false;

}  // namespace

ComputeIn::ComputeIn(Precision precision, std::initializer_list<const char*> names) {
  for (const char* name : names) named()[name] = precision;
}

Precision precisionOf(const Row& row) {
  // By id: rows get theirs after all of them have been defined.
  static const std::vector<Precision> byId = [] {
    std::vector<Precision> out;
    for (const Row* r : Registry::get().rows()) {
      auto found = named().find(r->name);
      out.push_back(found == named().end() ? Precision::Keep : found->second);
    }
    return out;
  }();
  return byId[size_t(row.id)];
}

Tensors recast(Inputs in, Precision precision, DType low) {
  Tensors out;
  for (const Tensor& t : in) {
    const bool held = t && t.impl()->storage;  // literals follow the others
    const bool wide = held && t.dtype() == DType::Float32,
               half = held && (t.dtype() == DType::Float16 || t.dtype() == DType::BFloat16);
    if (precision == Precision::Low && wide) out.push_back(ops::cast(t, {.dtype = low}));
    else if (precision == Precision::Full && half) out.push_back(ops::cast(t, {.dtype = DType::Float32}));
    else out.push_back(t);
  }
  return out;
}

Fp8Form::Fp8Form(const char* name, const char* form) { fp8Forms()[name] = form; }

const Row& inWantedForm(const Row& row) {
  if (!fp8Wanted) return row;
  static const std::vector<const Row*> byId = [] {
    const auto rows = Registry::get().rows();
    std::vector<const Row*> out(rows.begin(), rows.end());
    for (size_t i = 0; i < out.size(); ++i)
      if (auto found = fp8Forms().find(rows[i]->name); found != fp8Forms().end())
        for (const Row* r : rows)
          if (r->name == found->second) out[i] = r;
    return out;
  }();
  return *byId[size_t(row.id)];
}

void wantFp8(bool wanted) { fp8Wanted = wanted; }

AutocastOff::AutocastOff() : before_(std::exchange(Context::current().autocast, DType::Float32)) {}
AutocastOff::~AutocastOff() { Context::current().autocast = before_; }

}  // namespace anneal
