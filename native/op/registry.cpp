#include <algorithm>
#include <mutex>

#include "op/row.h"

namespace anneal {

bool Row::reads(const Tensor& t, DeviceType device) const {
  if (!anyStrides && !t.contiguous()) return false;
  // A number in place that is seen in a shape, but no key: a GPU's kernels take it from the call as a scalar only.
  const bool spread = t.impl()->isScalar && t.rank() > 0 && (t.size() == 1 || !t.contiguous());
  return !spread || device == DeviceType::Cpu || name == "contiguous";
}

std::string Row::inputName(size_t i) const {
  const std::string& declared = inputs[std::min(i, inputs.size() - 1)];
  if (declared.ends_with("...")) return declared.substr(0, declared.size() - 3);
  return declared.back() == '?' ? declared.substr(0, declared.size() - 1) : declared;
}

std::string Row::describe(const void* attrs, Inputs in) const {
  std::ostringstream out;
  out << name << '(';
  const char* comma = "";
  for (const Tensor& t : in) {
    out << comma << t;
    comma = ", ";
  }
  for (const Field& f : fields) {
    out << comma << f.name << '=';
    f.print(attrs, out);
    comma = ", ";
  }
  out << ')';
  return out.str();
}

Registry& Registry::get() {
  static auto* registry = new Registry;  // never destroyed: rows are used until the process is gone
  return *registry;
}

void Registry::add(std::unique_ptr<Row> row) { added_.push_back(std::move(row)); }

namespace {
std::mutex mutex;
}

void Registry::implement(const std::string& name, DeviceType device, Row::Kernel kernel) {
  std::lock_guard lock(mutex);
  kernels_.emplace_back(name, device, std::move(kernel));
}

void Registry::seal() {
  std::sort(added_.begin(), added_.end(), [](const auto& a, const auto& b) { return a->name < b->name; });
  for (auto& row : added_) {
    require(sorted_.empty() || sorted_.back()->name != row->name, Code::Internal, "op defined twice: ", row->name);
    row->id = int(sorted_.size());
    sorted_.push_back(row.get());
  }
}

const std::vector<const Row*>& Registry::rows() {
  std::lock_guard lock(mutex);
  if (sorted_.empty()) seal();
  // Kernels may come later, from a backend library loaded at run time.
  for (auto& [name, device, kernel] : std::exchange(kernels_, {})) {
    auto found =
        std::find_if(added_.begin(), added_.end(), [&name = name](const auto& row) { return row->name == name; });
    require(found != added_.end(), Code::Internal, "a kernel for an op that does not exist: ", name);
    (*found)->kernels[size_t(device)] = std::move(kernel);
  }
  return sorted_;
}

const Row& Registry::row(int id) {
  require(id >= 0 && size_t(id) < sorted_.size(), Code::Internal, "no op has the id ", id);
  return *sorted_[size_t(id)];
}

const Row& Registry::named(std::string_view name) {
  auto& all = rows();
  auto found =
      std::lower_bound(all.begin(), all.end(), name, [](const Row* r, std::string_view n) { return r->name < n; });
  require(found != all.end() && (*found)->name == name, Code::Value, "there is no op called '", name, "'");
  return **found;
}

}  // namespace anneal
