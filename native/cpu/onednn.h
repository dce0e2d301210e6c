#pragma once
// What every oneDNN kernel shares: the engine and stream, descriptors, and primitives that are kept, because making one
// costs 100-200 microseconds and running it 0.2. All of this may be used from the stream's thread only.
#ifdef ANNEAL_ONEDNN
#include <oneapi/dnnl/dnnl.hpp>

#include <initializer_list>
#include <list>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/spec.h"
#include "cpu/parallel.h"

namespace anneal::cpu::onednn {

dnnl::engine& engine();
dnnl::stream& stream();

/// Attributes with the scratchpad in our hands, as `Prepared` expects.
dnnl::primitive_attr userScratchpad();

dnnl::memory::data_type dataType(DType dtype);
dnnl::memory::dims dims(const Dims& d);
/// A descriptor of strided memory; strides in elements.
dnnl::memory::desc strided(DType dtype, const Shape& shape, const Strides& strides);
/// Whether this processor multiplies bfloat16 natively, so that oneDNN is fast at it.
bool fastBFloat16();

/// What distinguishes a primitive from others of its kind: numbers and shapes, compared in full. The number of threads,
/// for which a primitive is made, is always part of it.
class Key {
 public:
  template <class... Parts>
  explicit Key(const Parts&... parts) {
    add(threads());
    (add(parts), ...);
  }
  template <class T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>) void add(T part) { parts_.push_back(int64_t(part)); }
  void add(const Dims& d) {
    add(d.rank());
    parts_.insert(parts_.end(), d.begin(), d.end());
  }
  void add(const Ints& list) {
    add(list.size());
    parts_.insert(parts_.end(), list.begin(), list.end());
  }
  size_t hash() const;
  bool operator==(const Key&) const = default;

 private:
  std::vector<int64_t> parts_;
};

/// A primitive with its arguments' memory objects; only addresses change from run to run.
class Prepared {
 public:
  using Argument = std::pair<int, dnnl::memory::desc>;
  Prepared(const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
           const std::vector<Argument>& arguments);
  /// Runs on data given in the order of the arguments.
  void run(std::initializer_list<const void*> data);

 private:
  dnnl::primitive primitive_;
  size_t scratchpad_;
  std::vector<int> ids_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

/// Makes oneDNN use as many threads as other kernels; `cached` does it.
void followThreads();

/// The most recently used entries, up to a bound.
template <class Entry>
class Cache {
 public:
  template <class Make>
  Entry& get(const Key& key, Make&& make) {
    auto found = places_.find(key);
    if (found != places_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      return found->second->second;
    }
    if (entries_.size() >= kMost) {
      places_.erase(entries_.back().first);
      entries_.pop_back();
    }
    entries_.emplace_front(key, make());
    places_.emplace(key, entries_.begin());
    return entries_.front().second;
  }

 private:
  static constexpr size_t kMost = 512;
  struct Hash {
    size_t operator()(const Key& key) const { return key.hash(); }
  };
  using List = std::list<std::pair<Key, Entry>>;
  List entries_;
  std::unordered_map<Key, typename List::iterator, Hash> places_;
};

/// The entry that `make()` gave for this key before, or gives now. Entries of one type share a cache, so that a key
/// must begin with what tells apart the uses of a type (see `Kind`). The reference is valid until the next call.
template <class Make, class Entry = std::invoke_result_t<Make>>
Entry& cached(const Key& key, Make&& make) {
  followThreads();
  static auto* cache = new Cache<Entry>;  // never destroyed: the stream's thread outlives static objects
  return cache->get(key, std::forward<Make>(make));
}

/// First part of a key.
enum class Kind {
  Matmul,
  Convolution,
  ConvolutionData,
  ConvolutionWeights,
  ConvolutionInference,
  Deconvolution,
  Pooling,
  PoolingBackward,
  Reorder
};

}  // namespace anneal::cpu::onednn
#endif
