#include "graph/passes/sums.h"

#include <algorithm>

#include "graph/passes/passes.h"
#include "op/infer.h"
#include "ops/matmul.h"
#include "ops/reduce.h"

namespace anneal::passes {

const Op<ProductWithSums> productWithSums(
    {.name = "fusedSums",
     .doc = "A matrix product with the sums of a factor over the inner axis; made when a graph is planned.",
     .inputs = {"a", "b"},
     .outputs = {"product", "sums"},
     .lower =
         [](const Args<ProductWithSums>& c) {
           const size_t of = c.attrs.right ? 1 : 0;
           return Tensors{ops::matmul(c.in[0], c.in[1]), ops::sum(c.in[of], {.axis = Ints{int64_t(1 - of)}})};
         },
     .nonDifferentiable = true,
     .method = false,
     .internal = true,
     .anyStrides = true});

namespace {

constexpr size_t kLeast = size_t(1) << 16;  // bytes worth adding up by the way
constexpr size_t kMost = size_t(1) << 16;   // bytes that may be made between a product and a place before it

/// Joins sums over all axes but the last with a product that goes over the same rows.
class Sums {
 public:
  explicit Sums(Graph& graph)
      : graph_(graph), uses_(graph), partner_(graph.operations.size(), -1), place_(graph.operations.size()) {
    std::iota(place_.begin(), place_.end(), 0);
  }

  void run() {
    const size_t count = graph_.operations.size();
    std::vector<std::vector<int>> before(count);  // the sums that are joined and then stand before an operation
    for (size_t i = 0; i < count; ++i)
      if (const int product = findProduct(int(i)); product >= 0) {
        const int place = placeOf(product, int(i));
        partner_[i] = product;
        partner_[size_t(product)] = int(i);
        place_[i] = place_[size_t(product)] = place;
        before[size_t(place)].push_back(int(i));
      }
    std::vector<Operation> rest;
    for (size_t i = 0; i < count; ++i) {
      for (int sum : before[i]) rest.push_back(join(at(partner_[size_t(sum)]), at(sum)));
      if (partner_[i] < 0) rest.push_back(at(int(i)));
    }
    graph_.operations = std::move(rest);
  }

 private:
  const Operation& at(int i) const { return graph_.operations[size_t(i)]; }

  /// Whether it adds up rows that follow each other without gaps, many enough, of a dtype that cuBLASLt takes.
  static bool isSum(const Operation& op) {
    if (op.row != &ops::sum.row() || op.in()[0].value < 0) return false;
    const View& x = op.in()[0].view;
    const int rank = x.shape.rank();
    if (rank < 2 || !x.contiguous() || !isFloat(x.dtype) || x.dtype == DType::Float64) return false;
    const Ints axes = reductionAxes("sum", static_cast<const ops::Reduce*>(op.attrs.get())->axis, rank);
    const bool columns = int(axes.size()) == rank - 1 && axes.back() == rank - 2;
    return columns && x.shape.back() > 1 && x.size() > x.shape.back() && size_t(x.size()) * itemSize(x.dtype) >= kLeast;
  }

  /// The factor of a product that a sum adds up, 0 or 1: its inner axis goes over the same rows. -1: none.
  static int factorOf(const Operation& product, const Operation& sum) {
    if (product.row != &ops::matmul.row()) return -1;
    const auto in = product.in();
    if (in[0].view.shape.rank() != 2 || in[1].view.shape.rank() != 2) return -1;
    const Operand& x = sum.in()[0];
    const int64_t width = x.view.shape.back();
    for (int f = 0; f < 2; ++f) {
      const Operand& o = in[size_t(f)];
      const int inner = 1 - f;
      if (o.value == x.value && o.offset == x.offset && o.view.size() == x.view.size() && o.view.shape[f] == width &&
          o.view.strides[f] == 1 && o.view.strides[inner] == width)
        return f;
    }
    return -1;
  }

  int findProduct(int sum) const {
    if (!isSum(at(sum))) return -1;
    for (int reader : uses_.readers[size_t(at(sum).in()[0].value)])
      if (partner_[size_t(reader)] < 0 && factorOf(at(reader), at(sum)) >= 0 && placeOf(reader, sum) >= 0)
        return reader;
    return -1;
  }

  /// Before which operation both can be done without holding more memory: the product, which reads what is added up
  /// anyway, or who wants the sums before it, if the product's inputs are there, and little else is made between. -1:
  /// none.
  int placeOf(int product, int sum) const {
    const auto& readers = uses_.readers[size_t(at(sum).out()[0].value)];
    const int place = readers.empty() ? product : std::min(product, readers.front());
    for (const Operand& o : at(product).in())
      if (o.value >= 0 && uses_.writer[size_t(o.value)] >= 0 && place_[size_t(uses_.writer[size_t(o.value)])] >= place)
        return -1;
    size_t bytes = 0;
    for (int i = place; i < product; ++i)
      for (const Operand& o : at(i).out()) bytes += graph_.values[size_t(o.value)].bytes();
    return bytes <= kMost ? place : -1;
  }

  static Operation join(const Operation& product, const Operation& sum) {
    Operation all = product;
    all.row = &productWithSums.row();
    all.attrs = std::make_shared<ProductWithSums>(ProductWithSums{.right = factorOf(product, sum) == 1});
    all.operands.push_back(sum.out()[0]);
    all.cost += sum.cost;
    all.note = product.row->name + " " + sum.row->name;
    return all;
  }

  Graph& graph_;
  const Uses uses_;
  std::vector<int> partner_;  // what an operation is joined with; -1: nothing
  std::vector<int> place_;    // where it will stand
};

}  // namespace

void joinSums(Graph& graph) { Sums(graph).run(); }

}  // namespace anneal::passes
