#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace anneal {

/// The kinds of mistake; `src/errors.ts` documents them for users.
enum class Code { Shape, DType, Value, Index, State, Gradient, Format, Io, Memory, Device, Internal };

const char* codeName(Code code);

/// Every error the core throws: it becomes an `AnnealError` in JavaScript.
class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

/// Prints a list of numbers as [1,2,3].
template <class List>
std::ostream& printList(std::ostream& out, const List& list) {
  out << '[';
  const char* separator = "";
  for (const auto& v : list) {
    out << separator << v;
    separator = ",";
  }
  return out << ']';
}

template <class Part>
void print(std::ostream& out, const Part& part) {
  if constexpr (requires { out << part; }) out << part;
  else printList(out, part);
}

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (print(out, parts), ...);
  return out.str();
}

/// Throws an Error whose message is its parts, one after the other.
template <class... Parts>
[[noreturn]] void fail(Code code, const Parts&... parts) {
  throw Error(code, text(parts...));
}

template <class... Parts>
void require(bool condition, Code code, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail(code, parts...);
}

}  // namespace anneal
