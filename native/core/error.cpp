#include "core/error.h"

#include <array>

namespace anneal {

const char* codeName(Code code) {
  static constexpr std::array<const char*, 11> names = {"ERR_SHAPE",  "ERR_DTYPE",    "ERR_VALUE",   "ERR_INDEX",
                                                        "ERR_STATE",  "ERR_GRADIENT", "ERR_FORMAT",  "ERR_IO",
                                                        "ERR_MEMORY", "ERR_DEVICE",   "ERR_INTERNAL"};
  return names[size_t(code)];
}

}  // namespace anneal
