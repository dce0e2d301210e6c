#include "order.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>

namespace anneal::emulate {
namespace {

constexpr unsigned kLanes = 32;

struct Choice {
  enum Kind { Forward, Reverse, Random, Warps } kind = Forward;
  uint64_t seed = 0;
};

Choice readChoice() {
  const char* given = std::getenv("ANNEAL_EMULATE_ORDER");
  const std::string text = given ? given : "";
  const size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  if (name.empty() || name == "forward") return {};
  if (name == "reverse") return {Choice::Reverse};
  if (name != "random" && name != "warps")
    throw std::runtime_error("ANNEAL_EMULATE_ORDER: " + text +
                             "; expected forward, reverse, random:SEED or warps:SEED");
  Choice choice{name == "random" ? Choice::Random : Choice::Warps};
  choice.seed = colon == std::string::npos ? std::random_device()() : std::strtoull(&text[colon + 1], nullptr, 10);
  if (colon == std::string::npos) std::fprintf(stderr, "ANNEAL_EMULATE_ORDER=%s:%zu\n", name.c_str(), choice.seed);
  return choice;
}

const Choice& choice() {
  static const Choice read = readChoice();
  return read;
}

}  // namespace

bool Order::drawn() { return choice().kind >= Choice::Random; }

void Order::begin(uint64_t launch, uint64_t block) {
  if (!drawn()) return;
  // Multiplications spread what differs in few low bits (the constants of Knuth's generator MMIX).
  uint64_t seed = choice().seed;
  for (const uint64_t part : {launch, block}) seed = (seed ^ part) * 6364136223846793005u + 1442695040888963407u;
  random_.seed(static_cast<std::minstd_rand::result_type>(seed >> 33));
}

std::vector<int64_t> Order::blocks(int64_t count) {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), int64_t(0));
  if (choice().kind == Choice::Reverse) std::reverse(numbers.begin(), numbers.end());
  mix(numbers);
  return numbers;
}

std::vector<std::vector<unsigned>> Order::threads(unsigned count) {
  const unsigned size = choice().kind == Choice::Warps ? kLanes : count;
  std::vector<std::vector<unsigned>> groups;
  for (unsigned begin = 0; begin < count; begin += size) {
    auto& group = groups.emplace_back(std::min(size, count - begin));
    std::iota(group.begin(), group.end(), begin);
    if (choice().kind == Choice::Reverse) std::reverse(group.begin(), group.end());
    mix(group);
  }
  mix(groups);
  return groups;
}

bool Order::pauses() { return choice().kind == Choice::Random && random_() >> 8 & 1; }

}  // namespace anneal::emulate
