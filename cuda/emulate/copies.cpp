#include <cstring>
#include <utility>

#include "pending.h"
#include "races.h"
#include "tensorcore.h"

namespace anneal::emulate {

void copyLater(void* to, const void* from) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0)
    return misuse("cp.async: an address is no multiple of 16 bytes");
  if constexpr (kWatched) {
    if (from) touch(from, 16, Access::Read, __builtin_return_address(0));
    touch(to, 16, Access::Write, __builtin_return_address(0));
  }
  std::memset(to, 0xff, 16);
  pending().copies.open.push_back({to, from});
}

void commitCopies() {
  Copies& own = pending().copies;
  own.closed.push_back(std::exchange(own.open, {}));
}

void waitCopies(int groups) {
  Copies& own = pending().copies;
  for (; own.closed.size() > size_t(groups); own.closed.pop_front())
    for (const auto& [to, from] : own.closed.front()) {
      if constexpr (kWatched) touch(to, 16, Access::Write, __builtin_return_address(0));
      from ? std::memcpy(to, from, 16) : std::memset(to, 0, 16);
      own.landed = true;
    }
}

void fenceAsync() { pending().copies.landed = false; }

}  // namespace anneal::emulate
