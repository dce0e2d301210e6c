#include "op/attributes.h"

#include <cmath>

namespace anneal::detail {

int64_t toInteger(double value, const std::string& field) {
  require(std::isfinite(value) && value == std::trunc(value) && std::fabs(value) <= 0x1p53, Code::Value, field,
          ": expected an integer; got ", value);
  return int64_t(value);
}

std::string toUtf8(Reader& in) {
  auto units = size_t(in.next());
  std::string out;
  for (size_t i = 0; i < units; ++i) {
    auto c = uint32_t(in.next());
    if (c < 0x80) {
      out += char(c);
    } else if (c < 0x800) {
      out += char(0xc0 | (c >> 6));
      out += char(0x80 | (c & 0x3f));
    } else {
      out += char(0xe0 | (c >> 12));
      out += char(0x80 | ((c >> 6) & 0x3f));
      out += char(0x80 | (c & 0x3f));
    }
  }
  return out;
}

}  // namespace anneal::detail
