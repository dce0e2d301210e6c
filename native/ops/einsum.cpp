#include "ops/einsum.h"

#include <algorithm>
#include <map>

#include "op/precision.h"
#include "ops/arithmetic.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/slices.h"
#include "ops/views.h"

namespace anneal::ops {
namespace {

/// Axes by label: a letter, or a number from kEllipsis on for the axes of an ellipsis, counted from their end.
using Labels = std::vector<int>;
constexpr int kEllipsis = 256;

bool has(const Labels& labels, int label) { return std::find(labels.begin(), labels.end(), label) != labels.end(); }
int place(const Labels& labels, int label) {
  return int(std::find(labels.begin(), labels.end(), label) - labels.begin());
}

/// A tensor whose axes have one label each.
struct Operand {
  Tensor tensor;
  Labels labels;
  int64_t size(int label) const { return tensor.shape()[place(labels, label)]; }
};

struct Equation {
  std::vector<std::string> inputs;
  std::optional<std::string> output;
};

Equation parse(const std::string& op, const std::string& given) {
  std::string equation;
  for (char ch : given)
    if (ch != ' ') equation += ch;
  Equation out;
  size_t arrow = equation.find("->");
  if (arrow != std::string::npos) out.output = equation.substr(arrow + 2);
  std::string left = equation.substr(0, arrow);
  for (size_t begin = 0, end; begin <= left.size(); begin = end + 1) {
    end = std::min(left.find(',', begin), left.size());
    out.inputs.push_back(left.substr(begin, end - begin));
  }
  auto check = [&](std::string term) {
    size_t dots = term.find("...");
    if (dots != std::string::npos) term.erase(dots, 3);
    for (char ch : term)
      require((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z'), Code::Value, op, ": '", std::string(1, ch),
              "' in '", given,
              "' is not a label; labels are letters, terms are separated by ',', and '->' precedes the result");
  };
  for (const auto& term : out.inputs) check(term);
  if (out.output) check(*out.output);
  return out;
}

/// The labels of a term; its ellipsis stands for `hidden` axes.
Labels labelsOf(const std::string& term, int hidden) {
  Labels out;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term[i] != '.') {
      out.push_back(term[i]);
      continue;
    }
    for (int axis = hidden; axis > 0; --axis) out.push_back(kEllipsis + axis);
    i += 2;
  }
  return out;
}

/// Axes with the same label become one, their diagonal.
Operand withoutRepeats(const std::string& op, Operand x) {
  for (size_t i = 0; i < x.labels.size(); ++i) {
    for (size_t j = i + 1; j < x.labels.size(); ++j) {
      if (x.labels[i] != x.labels[j]) continue;
      int label = x.labels[i];
      int64_t first = x.tensor.shape()[int(i)], second = x.tensor.shape()[int(j)];
      require(first == second, Code::Shape, op, ": label '", std::string(1, char(label)), "' repeats with sizes ",
              first, " and ", second);
      x.tensor = diagonal(x.tensor, {.offset = 0, .axisA = int64_t(i), .axisB = int64_t(j)});
      x.labels.erase(x.labels.begin() + long(j));
      x.labels.erase(x.labels.begin() + long(i));
      x.labels.push_back(label);
      return withoutRepeats(op, std::move(x));
    }
  }
  return x;
}

/// Without the axes whose label `drop` chooses: summed, or for size 1 just left out.
template <class F>
Operand summed(Operand x, F&& drop) {
  Ints axes;
  Labels rest;
  Shape shape;
  bool ones = true;
  for (size_t i = 0; i < x.labels.size(); ++i) {
    int64_t size = x.tensor.shape()[int(i)];
    if (drop(x.labels[i])) {
      axes.push_back(int64_t(i));
      ones &= size == 1;
    } else {
      rest.push_back(x.labels[i]);
      shape.push(size);
    }
  }
  if (axes.empty()) return x;
  Tensor y = ones ? reshape(x.tensor, {.shape = shape.ints()}) : sum(x.tensor, {.axis = axes});
  return {y.dtype() == x.tensor.dtype() ? y : cast(y, {.dtype = x.tensor.dtype()}), rest};
}

Labels joined(std::initializer_list<const Labels*> lists) {
  Labels out;
  for (const Labels* l : lists) out.insert(out.end(), l->begin(), l->end());
  return out;
}

Tensor ordered(const Operand& x, const Labels& order) {
  if (x.labels == order) return x.tensor;
  Ints axes;
  for (int label : order) axes.push_back(place(x.labels, label));
  return permute(x.tensor, {.axes = axes});
}

int64_t product(const Operand& x, const Labels& labels) {
  int64_t n = 1;
  for (int label : labels) n *= x.size(label);
  return n;
}

/// The operand as [batch..., rows, columns], where several labels of rows or columns are joined into one axis.
Tensor asMatrices(const Operand& x, const Labels& batch, const Labels& rows, const Labels& columns) {
  Labels straight = joined({&batch, &rows, &columns}), turned = joined({&batch, &columns, &rows});
  // Where the operand already lies the other way round, joining its axes needs no copy.
  bool turn = x.labels == turned && x.labels != straight;
  Tensor t = ordered(x, turn ? turned : straight);
  if (rows.size() != 1 || columns.size() != 1) {
    Shape shape = t.shape().slice(0, int(batch.size()));
    shape.push(product(x, turn ? columns : rows));
    shape.push(product(x, turn ? rows : columns));
    t = reshape(t, {.shape = shape.ints()});
  }
  return turn ? transposeLast(t) : t;
}

/// The product without a sum: axes are aligned and broadcast.
Operand multiplied(const Operand& a, const Operand& b) {
  Labels all = a.labels;
  for (int label : b.labels)
    if (!has(all, label)) all.push_back(label);
  auto aligned = [&](const Operand& x) {
    Labels order;
    Shape shape;
    for (int label : all) {
      if (has(x.labels, label)) order.push_back(label);
      shape.push(has(x.labels, label) ? x.size(label) : 1);
    }
    return reshape(ordered(x, order), {.shape = shape.ints()});
  };
  return {mul(aligned(a), aligned(b)), all};
}

/// The product of two operands, summed over labels that nothing after it reads.
Operand contract(Operand a, Operand b, const Labels& later) {
  // An axis of size 1 beside a longer one of the other operand is broadcast: it is as if it were not there.
  Operand first = a, second = b;
  a = summed(std::move(a), [&](int l) { return first.size(l) == 1 && has(second.labels, l) && second.size(l) != 1; });
  b = summed(std::move(b), [&](int l) { return second.size(l) == 1 && has(first.labels, l) && first.size(l) != 1; });
  const Labels inA = a.labels, inB = b.labels;
  a = summed(std::move(a), [&](int l) { return !has(inB, l) && !has(later, l); });
  b = summed(std::move(b), [&](int l) { return !has(inA, l) && !has(later, l); });
  Labels batch, inner, rows, columns;
  for (int l : a.labels) (!has(b.labels, l) ? rows : (has(later, l) ? batch : inner)).push_back(l);
  for (int l : b.labels)
    if (!has(a.labels, l)) columns.push_back(l);
  if (inner.empty()) return multiplied(a, b);
  Shape shape;
  for (int l : batch) shape.push(a.size(l));
  for (int l : rows) shape.push(a.size(l));
  for (int l : columns) shape.push(b.size(l));
  Tensor y = matmul(asMatrices(a, batch, rows, inner), asMatrices(b, batch, inner, columns));
  return {reshape(y, {.shape = shape.ints()}), joined({&batch, &rows, &columns})};
}

/// Explicit, or what occurs once: the axes of ellipses first, then letters in the order of the alphabet.
Labels outputOf(const std::string& op, const Equation& e, const std::vector<Operand>& operands, int hidden) {
  std::map<int, int> count;
  for (const std::string& term : e.inputs)
    for (int l : labelsOf(term, 0)) ++count[l];
  Labels all;
  for (const Operand& x : operands) all.insert(all.end(), x.labels.begin(), x.labels.end());
  if (e.output) {
    Labels out = labelsOf(*e.output, hidden);
    for (size_t i = 0; i < out.size(); ++i) {
      require(out[i] >= kEllipsis || has(all, out[i]), Code::Value, op, ": label '", std::string(1, char(out[i])),
              "' of the result is in no operand");
      require(place(out, out[i]) == int(i), Code::Value, op, ": label '", std::string(1, char(out[i])),
              "' is in the result twice");
    }
    return out;
  }
  Labels out;
  for (int axis = hidden; axis > 0; --axis) out.push_back(kEllipsis + axis);
  for (auto [label, times] : count)
    if (times == 1) out.push_back(label);
  return out;
}

int lettersOf(const std::string& term) {
  return int(std::count_if(term.begin(), term.end(), [](char ch) { return ch != '.'; }));
}

std::vector<Operand> operandsOf(const Args<Einsum>& c, const Equation& e) {
  std::vector<Operand> out;
  for (size_t i = 0; i < c.in.size(); ++i) {
    const std::string& term = e.inputs[i];
    int letters = lettersOf(term), rank = c.in[i].rank();
    bool dots = term.find('.') != std::string::npos;
    require(dots ? rank >= letters : rank == letters, Code::Shape, c.op, ": '", term, "' names ", letters,
            dots ? " axes or more" : " axes", "; operand ", i, " has the shape ", c.in[i].shape());
    out.push_back(withoutRepeats(c.op, {c.in[i], labelsOf(term, rank - letters)}));
  }
  return out;
}

void checkSizes(const std::string& op, const std::vector<Operand>& operands) {
  std::map<int, int64_t> sizes;
  for (const Operand& x : operands) {
    for (int l : x.labels) {
      int64_t size = x.size(l), &known = sizes.try_emplace(l, size).first->second;
      require(size == known || size == 1 || known == 1, Code::Shape, op, ": ",
              l < kEllipsis ? "label '" + std::string(1, char(l)) + "'" : std::string("an axis of '...'"),
              " has the sizes ", known, " and ", size);
      if (known == 1) known = size;
    }
  }
}

Tensors lowerEinsum(const Args<Einsum>& c) {
  Equation e = parse(c.op, c.attrs.equation);
  require(e.inputs.size() == c.in.size(), Code::Value, c.op, ": '", c.attrs.equation, "' has ", e.inputs.size(),
          " terms for ", c.in.size(), " operands");
  for (const Tensor& t : c.in)
    require(t.dtype() == c.in[0].dtype(), Code::DType, c.op, ": dtypes differ: ", c.in[0].dtype(), " and ", t.dtype(),
            "; cast() one to the other");
  std::vector<Operand> operands = operandsOf(c, e);
  int hidden = 0;
  for (size_t i = 0; i < operands.size(); ++i)
    if (e.inputs[i].find('.') != std::string::npos) hidden = std::max(hidden, c.in[i].rank() - lettersOf(e.inputs[i]));
  checkSizes(c.op, operands);
  Labels output = outputOf(c.op, e, operands, hidden);
  Operand result = operands[0];
  for (size_t i = 1; i < operands.size(); ++i) {
    Labels later = output;
    for (size_t j = i + 1; j < operands.size(); ++j)
      later.insert(later.end(), operands[j].labels.begin(), operands[j].labels.end());
    result = contract(result, operands[i], later);
  }
  result = summed(result, [&](int l) { return !has(output, l); });
  return {ordered(result, output)};
}

}  // namespace

const Op<Einsum> einsum(
    {.name = "einsum",
     .doc = "Einstein's summation: each operand's axes are labelled by letters; the result has the axes after `->`, "
            "and the product of the operands is summed over all other labels. A label that repeats in one operand "
            "takes its diagonal; `...` stands for axes that broadcast (summed if the result has none); without `->` "
            "the result has the labels that "
            "occur once, in alphabetical order. All operands have one dtype.",
     .inputs = {"operands..."},
     .attrs = {required<&Einsum::equation>("equation", "for example 'bij,bjk->bik'")},
     .lower = lowerEinsum,
     .method = false});

const ComputeIn precision(Precision::Low, {"einsum"});

}  // namespace anneal::ops
