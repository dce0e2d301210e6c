#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "runtime/device.h"

int main(int count, char** arguments) {
  const int result = doctest::Context(count, arguments).run();
  anneal::device().synchronize();
  // The pool knows these, so that a leak checker does not count them as lost.
  const auto blocks = anneal::device().memory().blocks;
  if (blocks) std::fprintf(stderr, "%ld blocks of tensors were not given back\n", long(blocks));
  return result ? result : blocks != 0;
}
