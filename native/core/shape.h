#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <vector>

#include "core/error.h"

namespace anneal {

inline constexpr int kMaxRank = 8;
using Ints = std::vector<int64_t>;

/// A short list of sizes or strides, held in place: at most kMaxRank of them.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values) : Dims(std::span(values.begin(), values.size())) {}
  explicit Dims(std::span<const int64_t> values) {
    require(values.size() <= kMaxRank, Code::Shape, "a tensor has at most ", kMaxRank, " axes; got ", values.size());
    for (int64_t v : values) values_[size_t(rank_++)] = v;
  }
  explicit Dims(const Ints& values) : Dims(std::span<const int64_t>(values)) {}
  Dims(const Dims& other) { copy(other); }
  Dims& operator=(const Dims& other) {
    copy(other);
    return *this;
  }
  static Dims filled(int rank, int64_t value) {
    Dims d;
    for (int i = 0; i < rank; ++i) d.push(value);
    return d;
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return values_[size_t(i)]; }
  int64_t& operator[](int i) { return values_[size_t(i)]; }
  /// The i-th from the end, from 1: back(1) is the last.
  int64_t back(int i = 1) const { return values_[size_t(rank_ - i)]; }
  const int64_t* begin() const { return values_.data(); }
  const int64_t* end() const { return values_.data() + rank_; }
  void push(int64_t v) {
    require(rank_ < kMaxRank, Code::Shape, "a tensor has at most ", kMaxRank, " axes");
    values_[size_t(rank_++)] = v;
  }
  void insert(int at, int64_t v) {
    push(v);
    for (int i = rank_ - 1; i > at; --i) values_[size_t(i)] = values_[size_t(i - 1)];
    values_[size_t(at)] = v;
  }
  void erase(int at) {
    for (int i = at; i + 1 < rank_; ++i) values_[size_t(i)] = values_[size_t(i + 1)];
    --rank_;
  }
  Dims slice(int from, int to) const { return Dims(std::span<const int64_t>(begin() + from, size_t(to - from))); }
  Ints ints() const { return Ints(begin(), end()); }
  int64_t product() const {
    int64_t n = 1;
    for (int64_t v : *this) n *= v;
    return n;
  }
  bool operator==(const Dims& o) const {
    if (rank_ != o.rank_) return false;
    for (int i = 0; i < rank_; ++i)
      if (values_[size_t(i)] != o.values_[size_t(i)]) return false;
    return true;
  }

 private:
  /// Only what is used, one by one: a vector load of values that were just stored one by one would wait for them.
  void copy(const Dims& other) {
    rank_ = other.rank_;
    const volatile int64_t* from = other.values_.data();
    for (int i = 0; i < rank_; ++i) values_[size_t(i)] = from[i];
  }
  int rank_ = 0;  // first, beside the values that a short list uses
  std::array<int64_t, kMaxRank> values_;
};

using Shape = Dims;
using Strides = Dims;

inline std::ostream& operator<<(std::ostream& out, const Dims& d) { return printList(out, d); }

/// Row-major strides in elements.
Strides contiguousStrides(const Shape& shape);
bool isContiguous(const Shape& shape, const Strides& strides);
/// The broadcast of two shapes (NumPy's rule); throws an Error (Shape) in the name of `op`.
Shape broadcast(std::string_view op, const Shape& a, const Shape& b);
/// Strides that read a tensor of `shape` as one of `target`, to which it broadcasts.
Strides broadcastStrides(const Shape& shape, const Strides& strides, const Shape& target);
/// The axis counted from 0, where a negative one counts from the end; throws an Error (Index) in the name of `op`.
int resolveAxis(std::string_view op, int64_t axis, int rank);
/// Throws an Error (Shape) unless every size is >= 0 and the element count fits.
void checkShape(std::string_view op, const Shape& shape);

}  // namespace anneal
