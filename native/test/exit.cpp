// exit return|exit|thread: ends with work in flight, in one of the ways in which a host may.
#include <cstdlib>
#include <string_view>
#include <thread>

#include "ops/creation.h"
#include "ops/matmul.h"
#include "runtime/device.h"

using namespace anneal;

int main(int count, char** arguments) {
  const std::string_view way = count > 1 ? arguments[1] : "return";
  const Tensor x = ops::full({600, 600}, 1 / 600.0, DType::Float32);
  Tensor y = x;
  for (int i = 0; i < 40; ++i) y = ops::matmul(y, x);
  device().quiesce();
  if (way == "exit") std::exit(0);
  if (way == "thread") std::thread([] { std::exit(0); }).join();
  return 0;
}
