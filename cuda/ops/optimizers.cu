// Optimizers' updates of many tensors at once. Nothing comes back to the host: what lies in the device's memory (a
// learning rate, the factor of clipping) is read there.
#include "ops/optimizer_rules.h"

#include <cmath>
#include <list>

#include "tensors.cuh"

namespace anneal::cuda {
namespace {

/// A number that came with the call or lies in the device's memory.
struct Number {
  const void* memory;
  DType dtype;
  double value;
  explicit Number(const View& v) : memory(v.memory), dtype(v.dtype), value(v.memory ? 0 : scalarAs<double>(v)) {}
  ANNEAL_HD double get() const {
#if defined(__CUDA_ARCH__) || defined(ANNEAL_CUDA_EMULATE)
    if (memory) return loadAs<double>(memory, dtype, 0);
#endif
    return value;
  }
};

/// The settings of an update and what they become for its elements.
template <class A>
struct Settings {
  A attrs;
  Number lr, step, scale, limit;
  bool onHost() const { return !lr.memory && !step.memory && !scale.memory && !limit.memory; }
};
template <class R>
struct Ready {
  R rule;
  double lr, scale, limit;
};
template <class A>
using RuleOf = decltype(ops::ruleOf(std::declval<A>(), 0.0, 0.0));

template <class A>
ANNEAL_HD Ready<RuleOf<A>> readyOf(const Settings<A>& s) {
  const double lr = s.lr.get();
  return {ops::ruleOf(s.attrs, lr, s.step.get()), lr, s.scale.get(), s.limit.get()};
}

template <class A>
__global__ void prepare(Settings<A> settings, Ready<RuleOf<A>>* out) {
  *out = readyOf(settings);
}

/// What an update's kernels are given: the rule by value, or in memory where it follows from what lies there.
template <class R>
struct Given {
  Ready<R> value;
  const Ready<R>* memory;
  const int* failed;
  __device__ Ready<R> get() const { return memory ? *memory : value; }
  /// Whether parameters and states stay as they were, because gradients come from data with a mistake.
  __device__ bool stays() const { return failed && *failed; }
};

/// Limited to [-limit, limit] and then multiplied by the scale; what is not a number stays so.
template <class C>
__device__ __forceinline__ C clipped(C g, C limit, C scale) {
  const C low = g < -limit ? -limit : g;
  return (low > limit ? limit : low) * scale;
}

/// Arrays: parameter, gradient, states; new parameter, new states. LAMB's direction comes in place of the new
/// parameter, as what is computed in, and `squares` of each chunk: those of the parameter and of the direction.
template <class R>
inline constexpr int kArrays = 3 + 2 * R::states;
template <class R>
inline constexpr bool kDirection = std::is_same_v<R, rules::LambDirection>;

/// Blocks that a multiprocessor is to hold at least: as many as leave a rule the registers that it takes.
template <class R, class T>
constexpr int kLeastBlocks = sizeof(Computed<T>) == 8 ? 2 : (R::states > 2 || kDirection<R> ? 3 : 4);

/// Parameters are of type T, gradients of type G.
template <class R, class T, class G>
__global__ void __launch_bounds__(kChunkThreads, kLeastBlocks<R, T>)
    updateChunks(TensorTable<kArrays<R>> table, Given<R> given, Two<double>* squares) {
  using C = Computed<T>;
  constexpr int S = R::states;
  using O = std::conditional_t<kDirection<R>, C, T>;
  const Ready<R> ready = given.get();
  const R rule = ready.rule;
  const C scale = C(ready.scale), limit = C(ready.limit);
  const bool stays = given.stays();
  const auto& e = table.entries[table.find(blockIdx.x)];
  Two<double> sums{0, 0};
  eachOfChunk<kNeighbours<T>>(e, [&]<int N>(Run<N>, int64_t at) {
    C p[N], g[N], states[S + 1][N];
    loadPacked<N, T>(e.arrays[0], at, p);
    loadPacked<N, G>(e.arrays[1], at, g);
#pragma unroll
    for (int k = 0; k < S; ++k) loadPacked<N, C>(e.arrays[2 + k], at, states[k]);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (stays) continue;
      C own[S + 1];
#pragma unroll
      for (int k = 0; k < S; ++k) own[k] = states[k][i];
      const C before = p[i];
      p[i] = rule(before, clipped(g[i], limit, scale), own);
      if constexpr (kDirection<R>)
        sums = sums + Two<double>{double(before) * double(before), double(p[i]) * double(p[i])};
#pragma unroll
      for (int k = 0; k < S; ++k) states[k][i] = own[k];
    }
    storePacked<N, O>(e.arrays[2 + S], at, p);
#pragma unroll
    for (int k = 0; k < S; ++k) storePacked<N, C>(e.arrays[3 + S + k], at, states[k]);
  });
  if constexpr (kDirection<R>) {
    __shared__ Two<double> shared[kWarp];
    sums = mergeBlock(sums, shared, Add());
    if (threadIdx.x == 0) squares[blockIdx.x] = sums;
  }
}

/// LAMB's step for each tensor: minus the learning rate, times the ratio of the norms.
template <class Table>
__global__ void __launch_bounds__(kChunkThreads)
    lambFactors(Table table, Given<rules::LambDirection> given, const Two<double>* squares, double* factors) {
  __shared__ Two<double> shared[kWarp];
  const unsigned first = table.entries[blockIdx.x].firstChunk,
                 end = int(blockIdx.x) + 1 < table.count ? table.entries[blockIdx.x + 1].firstChunk : table.chunks;
  Two<double> sum{0, 0};
  for (unsigned i = first + threadIdx.x; i < end; i += kChunkThreads) sum = sum + squares[i];
  sum = mergeBlock(sum, shared, Add());
  if (threadIdx.x != 0) return;
  const double lr = given.get().lr, weight = std::sqrt(sum.first), length = std::sqrt(sum.second);
  factors[blockIdx.x] = weight > 0 && length > 0 ? -lr * weight / length : -lr;
}

/// Arrays: parameter, direction, new parameter.
template <class T>
__global__ void __launch_bounds__(kChunkThreads)
    stepAlong(TensorTable<3> table, Given<rules::LambDirection> given, const double* factors) {
  using C = Computed<T>;
  const int tensor = table.find(blockIdx.x);
  const auto& e = table.entries[tensor];
  const C factor = C(factors[tensor]);
  const bool stays = given.stays();
  eachOfChunk<kNeighbours<T>>(e, [&]<int N>(Run<N>, int64_t at) {
    C p[N], d[N];
    loadPacked<N, T>(e.arrays[0], at, p);
    loadPacked<N, C>(e.arrays[1], at, d);
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (!stays) p[i] += factor * d[i];
    storePacked<N, T>(e.arrays[2], at, p);
  });
}

/// Calls f(TypeTag<T>, TypeTag<G>, takes) for what parameters and their gradients may be: takes(i) tells whether those
/// of number i are of these types. Captured functions leave gradients of float32 in the 16 bits that they come in.
template <class F>
void visitDTypes(std::span<const View> in, size_t n, F&& f) {
  for (const DType dtype : kFloats)
    for (const DType gradient : kFloats)
      visitFloat(dtype, [&]<class T>(TypeTag<T> parameters) {
        visitFloat(gradient, [&]<class G>(TypeTag<G> gradients) {
          if constexpr (std::is_same_v<T, G> || (std::is_same_v<T, float> && sizeof(G) == 2))
            f(parameters, gradients, [&](size_t i) { return in[i].dtype == dtype && in[n + i].dtype == gradient; });
        });
      });
}

template <class T, class G, class P>
void updateTables(std::span<const View> in, std::span<const View> out, P&& takes,
                  const Given<rules::LambDirection>& given) {
  using R = rules::LambDirection;
  using C = Computed<T>;
  const size_t n = in.size() / (2 + R::states);
  std::list<Scratch> directions;
  std::vector<size_t> members;  // of the table
  eachTable<kArrays<R>>(
      in.first(n), takes,
      [&](size_t i, int k) -> void* {
        if (k == 0) members.push_back(i);
        if (k < 2 + R::states) return in[size_t(k) * n + i].memory;
        if (k > 2 + R::states) return out[size_t(k - 2 - R::states) * n + i].memory;
        return directions.emplace_back(size_t(in[i].size()) * sizeof(C)).template as<C>();
      },
      [&](const TensorTable<kArrays<R>>& table) {
        const Scratch squares(table.chunks * sizeof(Two<double>)), factors(size_t(table.count) * sizeof(double));
        launch(updateChunks<R, T, G>, table.chunks, kChunkThreads, 0, stream(), table, given,
               squares.as<Two<double>>());
        launch(lambFactors<TensorTable<kArrays<R>>>, unsigned(table.count), kChunkThreads, 0, stream(), table, given,
               squares.as<Two<double>>(), factors.as<double>());
        TensorTable<3> steps;
        steps.count = table.count;
        steps.chunks = table.chunks;
        for (int i = 0; i < table.count; ++i) {
          const auto& e = table.entries[i];
          void* const to = out[members[size_t(i)]].memory;
          steps.entries[i] = {
              {e.arrays[0], e.arrays[2 + R::states], to}, e.size, e.firstChunk, e.packed && aligned(to)};
        }
        launch(stepAlong<T>, steps.chunks, kChunkThreads, 0, stream(), steps, given, factors.as<double>());
        directions.clear();
        members.clear();
      });
}

template <class T, class G, class P, class R>
void updateTables(std::span<const View> in, std::span<const View> out, P&& takes, const Given<R>& given) {
  const size_t n = in.size() / (2 + R::states);
  eachTable<kArrays<R>>(
      in.first(n), takes,
      [&](size_t i, int k) -> void* {
        const auto block = size_t(k);
        return block < 2 + R::states ? in[block * n + i].memory : out[(block - 2 - R::states) * n + i].memory;
      },
      [&](const TensorTable<kArrays<R>>& table) {
        launch(updateChunks<R, T, G>, table.chunks, kChunkThreads, 0, stream(), table, given, nullptr);
      });
}

template <class A>
void updateCuda(const Call<A>& c) {
  using R = RuleOf<A>;
  using I = ops::UpdateInputs;
  const Settings<A> settings{c.attrs, Number(c.in[I::Lr]), Number(c.in[I::Step]), Number(c.in[I::Scale]),
                             Number(c.in[I::Limit])};
  const Scratch memory(sizeof(Ready<R>));
  Given<R> given{.failed = current().failed()};
  if (settings.onHost()) {
    given.value = readyOf(settings);
  } else {
    launch(prepare<A>, 1, 1, 0, stream(), settings, memory.as<Ready<R>>());
    given.memory = memory.as<Ready<R>>();
  }
  const InMemory tensors(c.in.subspan(I::Tensors));
  const std::span<const View> in = tensors.views();
  visitDTypes(in, in.size() / (2 + R::states), [&]<class T, class G>(TypeTag<T>, TypeTag<G>, auto&& takes) {
    updateTables<T, G>(in, c.out, takes, given);
  });
}

const Implement<ops::DescentUpdate> descentOnCuda("descentUpdate", DeviceType::Cuda, updateCuda);
const Implement<ops::SgdUpdate> sgdOnCuda("sgdUpdate", DeviceType::Cuda, updateCuda);
const Implement<ops::AdamUpdate> adamOnCuda("adamUpdate", DeviceType::Cuda, updateCuda);
const Implement<ops::RmsPropUpdate> rmsPropOnCuda("rmsPropUpdate", DeviceType::Cuda, updateCuda);
const Implement<ops::AdagradUpdate> adagradOnCuda("adagradUpdate", DeviceType::Cuda, updateCuda);
const Implement<ops::AdadeltaUpdate> adadeltaOnCuda("adadeltaUpdate", DeviceType::Cuda, updateCuda);
const Implement<ops::LionUpdate> lionOnCuda("lionUpdate", DeviceType::Cuda, updateCuda);
const Implement<ops::LambUpdate> lambOnCuda("lambUpdate", DeviceType::Cuda, updateCuda);

}  // namespace
}  // namespace anneal::cuda
