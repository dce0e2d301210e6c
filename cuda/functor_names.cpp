#include "functor_names.h"

#include <array>
#include <string_view>
#include <type_traits>
#include <vector>

#include "cpu/scalar.h"

namespace anneal::cuda {
namespace {

/// The name of a type without its namespaces, out of what the compiler calls this function: "... [F = a::b::Name]" or
/// "... [with F = a::b::Name; ...]".
template <class F>
std::string nameOf() {
  const std::string_view text = __PRETTY_FUNCTION__;
  const size_t begin = text.find("F = ") + 4, end = text.find_first_of(";]", begin);
  const std::string_view full = text.substr(begin, end - begin);
  const size_t colon = full.rfind(':');
  return std::string(colon == std::string_view::npos ? full : full.substr(colon + 1));
}

template <class F>
FunctorName nameAndKinds() {
  constexpr bool floats = requires { F::floats; };
  constexpr bool integers = requires { F::integers; };
  return {nameOf<F>(), std::is_constructible_v<F, const double*>, floats, integers};
}

template <class... F>
std::vector<FunctorName> namesOf(scalar::List<F...>) {
  return {nameAndKinds<F>()...};
}

const std::vector<FunctorName>& namesOf(int arity) {
  static const std::array<std::vector<FunctorName>, 3> all = {namesOf(scalar::Unary{}), namesOf(scalar::Binary{}),
                                                              namesOf(scalar::Ternary{})};
  return all[size_t(arity - 1)];
}

}  // namespace

const FunctorName& functorName(int arity, int index) { return namesOf(arity)[size_t(index)]; }
int functorsOf(int arity) { return int(namesOf(arity).size()); }

}  // namespace anneal::cuda
