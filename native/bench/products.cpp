// A peer of bench/run.mjs: the matrix products of its workloads by oneDNN with nothing around it, which is the ceiling
// of this machine. Reads {"workload":NAME,"iterations":COUNT} from each line, answers {"seconds":TIME}.
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "bench/alone.h"
#include "bench/timing.h"
#include "cpu/parallel.h"

using namespace anneal;

int main() {
#ifdef ANNEAL_ONEDNN
  struct Product {
    Product(int64_t m, int64_t k, int64_t n) : a(size_t(m * k), 0.5f), b(size_t(k * n), 0.25f), c(size_t(m * n)) {
      gemm = {.m = m, .n = n, .k = k, .a = {a.data(), k, 1}, .b = {b.data(), n, 1}, .c = c.data(), .ldc = n};
    }
    std::vector<float> a, b, c;
    cpu::Gemm gemm;
    std::unique_ptr<bench::Alone> alone;
  };
  std::map<std::string, Product> products;
  products.try_emplace("matmul1024", 1024, 1024, 1024);
  products.try_emplace("matmul2048", 2048, 768, 3072);
  if (const char* threads = std::getenv("BENCH_THREADS")) cpu::setThreads(std::atoi(threads));
  const dnnl_version_t* version = dnnl_version();
  std::cout << "{\"ready\":{\"name\":\"oneDNN\",\"version\":\"" << version->major << '.' << version->minor << '.'
            << version->patch << "\",\"threads\":" << cpu::threads() << "}}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    char name[64];
    long long iterations = 0;
    auto found = std::sscanf(line.c_str(), R"({"workload":"%63[^"]","iterations":%lld)", name, &iterations) == 2
                     ? products.find(name)
                     : products.end();
    if (found == products.end()) {
      std::cout << R"({"error":"not available"})" << std::endl;
      continue;
    }
    double seconds = 0;
    bench::onStream([&] {
      cpu::onednn::followThreads();
      Product& p = found->second;
      if (!p.alone) p.alone = std::make_unique<bench::Alone>(p.gemm);
      seconds = bench::seconds([&] {
        for (long long i = 0; i < iterations; ++i) (*p.alone)();
      });
    });
    std::cout << "{\"seconds\":" << seconds << '}' << std::endl;
  }
#else
  std::cerr << "built without oneDNN\n";
  return 1;
#endif
}
