#pragma once
#include <string>

namespace anneal::cuda {

/// A scalar functor as sources name it.
struct FunctorName {
  std::string name;                       // "Gelu", in anneal::scalar
  bool numbers = false;                   // whether it is made of its op's numbers
  bool floats = false, integers = false;  // whether it takes these alone
};

/// Functor number `index` in the list of those with `arity` operands (cpu/scalar.h).
const FunctorName& functorName(int arity, int index);
/// How many there are.
int functorsOf(int arity);

}  // namespace anneal::cuda
