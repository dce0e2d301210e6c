#include "graph/execution.h"

#include <chrono>
#include <cstring>

#include "core/access.h"
#include "runtime/backend.h"
#include "runtime/cpu_device.h"

namespace anneal {
namespace {

std::shared_ptr<const Error> outOfMemory(const Operation& operation) {
  return std::make_shared<const Error>(Code::Memory, operation.row->name + ": out of memory for working space");
}

}  // namespace

void Program::Execution::perform() {
  const bool profile = compiled->profile.exchange(false);
  const bool steady = bool(compiled->steady);
  auto* const follower = dynamic_cast<Follower*>(compiled->graph->device);
  std::shared_ptr<const Error> fault;
  if (steady) fault = faultOf([&] { visit.begin(compiled->steady->recorder); });
  // Runs that are queued already count on the prologue's results, whatever this one's arguments are.
  if (withPrologue) fault = prepare(fault, follower, profile);
  for (const Block* b : reads)
    if (b->fault) [[unlikely]]
      fault = b->fault;
  if (!fault && follower) fault = follower->heed(reads);
  const bool started = !fault;
  if (started) fault = steady ? computeSteadily(profile) : compute(compiled->steps, profile);
  if (!fault && steady) fault = faultOf([&] { visit.end(compiled->steady->recorder); });
  if (started) writes.insert(writes.end(), overwritten.begin(), overwritten.end());
  if (!started) held.clear();
  if (follower) follower->ran(reads, writes, held);
  for (Block* b : writes) b->fault = fault;
  if (!fault) [[likely]]
    return;
  for (Kept& k : kept) {
    k.to->fault = faultOf([&] { compiled->graph->device->move(k.to->data, k.from, k.bytes); });
    if (!k.to->fault && k.of) k.to->fault = k.of->fault;
    if (follower) follower->ran({&k.of, size_t(k.of != nullptr)}, {&k.to, 1}, {});
  }
}

/// Runs the prologue, unless the run cannot. What it makes comes of weights alone, and is read from here on.
std::shared_ptr<const Error> Program::Execution::prepare(std::shared_ptr<const Error> fault, Follower* follower,
                                                         bool profile) {
  for (const Block* b : weights)
    if (b->fault) fault = b->fault;
  if (!fault) fault = compute(compiled->prologue, profile);
  if (fault) compiled->stale.store(true);
  if (follower) follower->ran(weights, prepared, {});
  for (Block* b : prepared) b->fault = fault;
  reads.insert(reads.end(), prepared.begin(), prepared.end());
  return fault;
}

std::shared_ptr<const Error> Program::Execution::compute(std::vector<Compiled::Step>& steps, bool profile) {
  for (auto& step : steps) {
    const Operation& operation = *step.operation;
    for (size_t i = 0; i < step.views.size(); ++i) {
      const Operand& o = operation.operands[i];
      if (o.value < 0) continue;
      step.views[i].memory = bases[size_t(o.value)] + o.offset;
    }
    compiled->last = &operation;
    const auto start = profile ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
    try {
      const std::span<const View> views(step.views), in = views.first(operation.inputs),
                                                     out = views.subspan(operation.inputs);
      if (kTracksAccess && compiled->graph->device->type() == DeviceType::Cpu) allowOutputs(in, out);
      (*step.kernel)(operation.attrs.get(), in, out);
    } catch (const Error& e) {
      return std::make_shared<const Error>(e);
    } catch (const std::bad_alloc&) {
      return outOfMemory(operation);
    } catch (const std::exception& e) {
      return std::make_shared<const Error>(Code::Internal, operation.row->name + ": " + e.what());
    }
    if (profile) step.nanoseconds = double((std::chrono::steady_clock::now() - start).count());
  }
  return nullptr;
}

std::vector<std::string> Program::notes() const {
  std::string problem;
  const Backend* cuda = compiled_->graph->device->type() == DeviceType::Cuda ? cudaBackend(problem) : nullptr;
  if (cuda) problem = cuda->fusionProblem(*compiled_->graph->device);
  if (problem.empty()) return {};
  return {"elementwise operations are not joined: " + problem};
}

std::vector<Description> Program::describe() const {
  const Graph& g = *compiled_->graph;
  std::vector<Description> out;
  auto named = [&](const Operand& o) {
    static constexpr const char* kinds[] = {"%", "argument", "cell", "gradient", "constant", "number", "key", "kept %"};
    if (!o.view.defined) return std::string("none");
    if (o.value < 0) return text(o.view.dtype, " literal");
    const Value& v = g.values[size_t(o.value)];
    const bool result = v.kind == Value::Kind::Result || v.kind == Value::Kind::Kept;
    return text(kinds[size_t(v.kind)], result ? int64_t(o.value) : v.index, ' ', o.view.dtype, o.view.shape);
  };
  auto add = [&](const Compiled::Step& step, size_t live) {
    Description d{.name = step.operation->row->name,
                  .operations = step.operation->cost,
                  .live = double(live),
                  .nanoseconds = step.nanoseconds};
    for (const Operand& o : step.operation->in()) d.inputs.push_back(named(o));
    for (const Operand& o : step.operation->out()) d.outputs.push_back(named(o));
    std::ostringstream attributes;
    const char* comma = "";
    for (const Field& f : step.operation->row->fields) {
      attributes << comma << f.name << '=';
      f.print(step.operation->attrs.get(), attributes);
      comma = ", ";
    }
    d.attributes = step.operation->note.empty() ? attributes.str() : step.operation->note;
    for (const Operand& o : step.operation->operands)
      if (o.view.defined) d.bytes += double(o.view.size()) * double(itemSize(o.view.dtype));
    out.push_back(std::move(d));
  };
  for (const auto& step : compiled_->prologue) add(step, 0);
  for (size_t i = 0; i < compiled_->steps.size(); ++i) add(compiled_->steps[i], compiled_->plan.live[i]);
  return out;
}

}  // namespace anneal
