#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"
#include "core/shape.h"

namespace anneal {

/// Attributes cross from JavaScript as a flat run of numbers: for each field a presence flag, then the value
/// (bool, integer, float: one; dtype and choice: the index; list and text: the length, then elements or UTF-16 units).
class Reader {
 public:
  explicit Reader(const double* at) : at_(at) {}
  double next() { return *at_++; }
  const double* at() const { return at_; }

 private:
  const double* at_;
};

/// How one field of an attribute struct is named, read, printed and compared.
struct Field {
  std::string name, doc;
  std::string type;  // "boolean", "integer", "number", "dtype", "integers", "numbers", "text" or "choice"
  std::vector<std::string> choices;  // of a "choice"
  bool required = false;             // has no default; positional in JavaScript
  std::string fallback;              // the default, printed
  std::function<void(void*, Reader&)> read;
  std::function<void(const void*, std::ostream&)> print;
  std::function<bool(const void*, const void*)> equal;
};

namespace detail {

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <class M>
struct Member;
template <class C, class T>
struct Member<T C::*> {
  using Class = C;
  using Type = T;
};

template <class T>
const char* typeName() {
  if constexpr (IsOptional<T>::value) return typeName<typename T::value_type>();
  else if constexpr (std::is_same_v<T, bool>) return "boolean";
  else if constexpr (std::is_same_v<T, DType>) return "dtype";
  else if constexpr (std::is_enum_v<T>) return "choice";
  else if constexpr (std::is_integral_v<T>) return "integer";
  else if constexpr (std::is_floating_point_v<T>) return "number";
  else if constexpr (std::is_same_v<T, Ints>) return "integers";
  else if constexpr (std::is_same_v<T, std::vector<double>>) return "numbers";
  else return "text";
}

int64_t toInteger(double value, const std::string& field);
std::string toUtf8(Reader& in);

template <class T>
T readValue(Reader& in, const std::string& field) {
  if constexpr (IsOptional<T>::value) {
    return readValue<typename T::value_type>(in, field);
  } else if constexpr (std::is_same_v<T, bool>) {
    return in.next() != 0;
  } else if constexpr (std::is_enum_v<T>) {
    return T(int(in.next()));
  } else if constexpr (std::is_integral_v<T>) {
    return T(toInteger(in.next(), field));
  } else if constexpr (std::is_floating_point_v<T>) {
    return T(in.next());
  } else if constexpr (std::is_same_v<T, std::string>) {
    return toUtf8(in);
  } else {
    T values(size_t(in.next()));
    for (auto& v : values) v = readValue<std::decay_t<decltype(v)>>(in, field);
    return values;
  }
}

template <class T>
void printValue(std::ostream& out, const T& value, const std::vector<std::string>& choices) {
  if constexpr (IsOptional<T>::value) {
    if (value) printValue(out, *value, choices);
    else out << "none";
  } else if constexpr (std::is_same_v<T, bool>) {
    out << (value ? "true" : "false");
  } else if constexpr (std::is_same_v<T, DType>) {
    out << value;
  } else if constexpr (std::is_enum_v<T>) {
    out << choices[size_t(value)];
  } else if constexpr (std::is_same_v<T, Ints> || std::is_same_v<T, std::vector<double>>) {
    printList(out, value);
  } else {
    out << value;
  }
}

}  // namespace detail

/// Describes the member `M` of an attribute struct; its default is what the struct initialises it with.
template <auto M>
Field field(std::string name, const std::string& doc, std::vector<std::string> choices = {}) {
  using Struct = typename detail::Member<decltype(M)>::Class;
  using Type = typename detail::Member<decltype(M)>::Type;
  Field f{.name = name, .doc = doc, .type = detail::typeName<Type>(), .choices = choices};
  std::ostringstream fallback;
  detail::printValue(fallback, Struct{}.*M, choices);
  f.fallback = fallback.str();
  f.read = [name](void* s, Reader& in) { static_cast<Struct*>(s)->*M = detail::readValue<Type>(in, name); };
  f.print = [choices](const void* s, std::ostream& out) {
    detail::printValue(out, static_cast<const Struct*>(s)->*M, choices);
  };
  f.equal = [](const void* a, const void* b) {
    return static_cast<const Struct*>(a)->*M == static_cast<const Struct*>(b)->*M;
  };
  return f;
}

/// A field without a default: JavaScript passes it by position.
template <auto M>
Field required(std::string name, std::string doc, std::vector<std::string> choices = {}) {
  Field f = field<M>(std::move(name), std::move(doc), std::move(choices));
  f.required = true;
  return f;
}

/// For ops without attributes.
struct None {};

}  // namespace anneal
