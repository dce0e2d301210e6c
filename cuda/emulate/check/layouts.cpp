// Whether the emulator's instructions of tensor cores, and what kernels use to place and to describe their factors,
// agree with NVIDIA's CuTe: see test/cuda/layouts.
#include "layouts.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "golden.h"
#include "warpgroup.cuh"

namespace {

using namespace anneal;
using namespace anneal::cuda;

int failures = 0;

void expect(bool right, const std::string& what) {
  if (!right) std::printf("%s: not as CuTe has it\n", what.c_str());
  failures += !right;
}

/// Runs a kernel of one block; `f` tells whether its thread saw what it should.
template <class F>
void expectOfThreads(const std::string& what, int threads, F&& f) {
  std::vector<char> right(size_t(threads), 0);
  try {
    emulate::runGrid(dim3(1), dim3(unsigned(threads)), 160 << 10, [&] { right[threadIdx.x] = f(int(threadIdx.x)); });
  } catch (const std::exception& e) {
    std::printf("%s: %s\n", what.c_str(), e.what());
    right.clear();
  }
  expect(std::count(right.begin(), right.end(), 1) == threads, what);
}

/// Elements of factors, small integers: their products' sums are exact.
int elementOfA(int row, int k) { return int((unsigned(row) * 73 + unsigned(k) * 151 + 11) * 2654435761u >> 28) - 8; }
int elementOfB(int k, int column) { return elementOfA(column + 1000, k + 500); }
float productOf(int row, int column, int depth) {
  int sum = 0;
  for (int k = 0; k < depth; ++k) sum += elementOfA(row, k) * elementOfB(k, column);
  return float(sum);
}

template <class T>
uint32_t pairOf(int low, int high) {
  return packPair<T>(float(low), float(high));
}
template <class T>
T rounded(int value) {
  return {uint16_t(pairOf<T>(value, 0))};
}
/// A lane's fragment of A, from column `k` on.
template <class T>
void fillA(const Golden& golden, const std::string& fragment, int lane, int k, uint32_t (&a)[4]) {
  const auto element = [&](int v) {
    const int at = golden.held(fragment, lane, v);
    return elementOfA(at / 16, k + at % 16);
  };
  for (int i = 0; i < 4; ++i) a[i] = pairOf<T>(element(2 * i), element(2 * i + 1));
}

/// Whether a thread has its part of A B, of N times 8 columns.
template <int N>
bool isProduct(const Golden& golden, const std::string& fragment, int thread, int depth, const float (&c)[N][4]) {
  bool right = true;
  for (int v = 0; v < 4 * N; ++v) {
    const int at = golden.held(fragment, thread, v);
    right &= c[v / 4][v % 4] == productOf(at / (8 * N), at % (8 * N), depth);
  }
  return right;
}

template <class T>
void checkWarp(const Golden& golden, const std::string& dtype) {
  const std::string mma = dtype + " mma m16n8k16";
  expectOfThreads(mma, kWarp, [&](int lane) {
    float c[1][4] = {};
    uint32_t a[4], b[2];
    fillA<T>(golden, mma + " a", lane, 0, a);
    const auto element = [&](int v) {
      const int at = golden.held(mma + " b", lane, v);
      return elementOfB(at % 16, at / 16);
    };
    for (int i = 0; i < 2; ++i) b[i] = pairOf<T>(element(2 * i), element(2 * i + 1));
    multiplyAdd<T>(c[0], a, b[0], b[1]);
    return isProduct(golden, mma + " c", lane, 16, c);
  });
  expectOfThreads(dtype + " products of rows", kWarp, [&](int lane) {
    constexpr int kDepth = 64;
    const SharedRows<T, kDepth> left{dynamicShared<T>()}, right{left.data + 16 * kDepth},
        turned{right.data + 16 * kDepth};
    for (int k = lane; k < kDepth; k += kWarp)
      for (int i = 0; i < 16; ++i) {
        left.part(i, k / 8)[k % 8] = rounded<T>(elementOfA(i, k));
        right.part(i, k / 8)[k % 8] = rounded<T>(elementOfB(k, i));
        turned.part(i, k / 8)[k % 8] = rounded<T>(elementOfB(i, k));
      }
    __syncthreads();
    float c[1][2][4] = {}, weighted[1][kDepth / 8][4] = {};
    uint32_t weights[1][1][4];
    fillA<T>(golden, mma + " a", lane, 0, weights[0][0]);
    multiplyRows<T>(c, left, right);
    addWeighted<T>(weighted, weights, turned);
    bool same = true;
    for (int n = 0; n < kDepth / 8; ++n)
      for (int i = 0; i < 4; ++i) {
        const int at = golden.held(mma + " c", lane, i), row = at / 8, column = 8 * n + at % 8;
        same &= weighted[0][n][i] == productOf(row, column, 16);
        if (n < 2) same &= c[0][n][i] == productOf(row, column, kDepth);
      }
    return same;
  });
}

void checkLoads(const Golden& golden) {
  for (const bool transposed : {false, true}) {
    const std::string name = transposed ? "ldmatrix x4 trans" : "ldmatrix x4";
    expectOfThreads(name, kWarp, [&](int lane) {
      uint16_t* const row = dynamicShared<uint16_t>() + lane * 8;
      for (int i = 0; i < 8; ++i) row[i] = uint16_t(lane * 8 + i);
      __syncthreads();
      uint32_t to[4];
      if (transposed) loadTransposed(to, sharedAddress(row));
      else loadMatrices(to, sharedAddress(row));
      bool right = true;
      for (int v = 0; v < 8; ++v) right &= int(to[v / 2] >> v % 2 * 16 & 0xffff) == golden.held(name, lane, v);
      return right;
    });
  }
}

/// The rows and columns that kernels take their results for, and results that become a left factor.
void checkResults(const Golden& golden) {
  constexpr int kColumns = 64;
  expectOfThreads("results' places", kGroup, [&](int thread) {
    const LanePlace place;
    float c[1][kColumns / 8][4];
    bool right = true;
    for (int v = 0; v < kColumns / 2; ++v) {
      const int n = v / 4, i = v % 4, row = thread / kWarp * 16 + place.rowOf(0, i), column = place.columnOf(n, i);
      right &= golden.held("wgmma c n64", thread, v) == row * kColumns + column;
      if (n < 1) right &= golden.held("f16 mma m16n8k16 c", thread % kWarp, v) == row % 16 * 8 + column;
      c[0][n][i] = float(elementOfA(row, column));
    }
    uint32_t packed[1][kColumns / 16][4], a[4];
    packWeights<Half>(packed, c);
    for (int k = 0; k < kColumns / 16; ++k) {
      fillA<Half>(golden, "wgmma a", thread, 16 * k, a);
      right &= std::equal(a, a + 4, packed[0][k]);
    }
    return right;
  });
}

/// What addresses of shared memory are smaller than: on a GPU none passes it, so that descriptions can be moved on.
constexpr size_t kAddresses = size_t(1) << 18;

/// A factor in shared memory, as CuTe has it: where its elements lie, and how it is described from each 16 of its depth
/// on, from the first of its rows or another multiple of 64.
struct Factor {
  const Golden& golden;
  std::string name;
  int steps;  // each of 16 of the depth

  int address(int row, int k) const { return golden.at(name + " row", row) ^ golden.at(name + " depth", k); }
  const std::vector<int>& fields() const { return golden.numbers(name + " leading, stride, base, type"); }
  uint64_t description(const void* memory, int rows, int step) const {
    const auto field = [&](int i) { return uint64_t(fields()[size_t(i)]); };
    const uint64_t start =
        (addressBits(memory) >> 4) + uint64_t(golden.numbers(name + " starts")[size_t(rows / 64 * steps + step)]);
    return (start & 0x3fff) | field(0) << 16 | field(1) << 32 | field(2) << 49 | field(3) << 62;
  }
};

/// A product by the emulator of factors that lie, and are described, as CuTe has it.
template <class T, int N, bool Transposed>
void checkGroup(const Golden& golden, const std::string& swizzle, int rows, int depth) {
  const auto name = [&](const std::string& factor, int count) {
    return factor + " " + swizzle + " " + std::to_string(count) + "x" + std::to_string(depth);
  };
  const Factor left{golden, name("a", rows), depth / 16},
      right{golden, name(Transposed ? "b transposed" : "b", 8 * N), depth / 16};
  for (int from = 0; from < rows; from += 64)
    expectOfThreads("wgmma: " + left.name + ", " + right.name, kGroup, [&](int thread) {
      std::byte* const a = atPanels(dynamicShared<std::byte>());
      std::byte* const b = a + rows * depth * 2;
      for (int k = thread; k < depth; k += kGroup) {
        for (int i = 0; i < rows; ++i)
          *reinterpret_cast<T*>(a + left.address(i, k)) = rounded<T>(elementOfA(i - from, k));
        for (int i = 0; i < 8 * N; ++i) *reinterpret_cast<T*>(b + right.address(i, k)) = rounded<T>(elementOfB(k, i));
      }
      fenceAsync();
      __syncthreads();
      float c[N][4] = {}, ofRegisters[N][4] = {};
      uint32_t fragments[8][4];
      fenceOperands();
      for (int k = 0; k < depth / 16; ++k) {
        const uint64_t l = left.description(a, from, k), r = right.description(b, 0, k);
        fillA<T>(golden, "wgmma a", thread, 16 * k, fragments[k]);
        multiplyShared<T, true, Transposed>(c, l, r);
        multiplyRegisters<T, true, Transposed>(ofRegisters, fragments[k], r);
      }
      commitProducts();
      waitProducts<0>();
      const std::string fragment = "wgmma c n" + std::to_string(8 * N);
      return isProduct(golden, fragment, thread, depth, c) && isProduct(golden, fragment, thread, depth, ofRegisters);
    });
}

/// Kernels' panels: where parts lie, and their descriptions by rows, from the first and from the 64th on.
template <int Rows, int Depth>
void checkPanels(const Golden& golden, const char* factor) {
  using P = Panels<Half, Rows>;
  const Factor of{golden, std::string(factor) + " 128 " + std::to_string(Rows) + "x" + std::to_string(Depth),
                  Depth / 16};
  alignas(kAddresses) static Half memory[128 * 128];
  const P panels{memory};
  bool right = true;
  for (int row = 0; row < Rows; ++row)
    for (int k = 0; k < Depth; ++k) right &= (panels.part(row, k / 8) + k % 8 - memory) * 2 == of.address(row, k);
  expect(right, "panels: " + of.name);
  right = true;
  for (int from = 0; from < (*factor == 'a' ? Rows : 64); from += 64)
    for (int k = 0; k < Depth / 16; ++k)
      right &= describe<false>(panels, from) + columnsFurther<P>(k) == of.description(memory, from, k);
  expect(right, "descriptions of panels: " + of.name);
}

/// The same where panels' rows are a factor's rows, `Depth` of them.
template <int Columns, int Depth>
void checkTransposed(const Golden& golden) {
  const Factor of{golden, "b transposed 128 " + std::to_string(Columns) + "x" + std::to_string(Depth), Depth / 16};
  alignas(kAddresses) static Half memory[128 * 128];
  const Panels<Half, Depth> panels{memory};
  bool right = true;
  for (int k = 0; k < Depth; ++k)
    for (int i = 0; i < Columns; ++i) right &= (panels.part(k, i / 8) + i % 8 - memory) * 2 == of.address(i, k);
  expect(right, "panels: " + of.name);
  // There is no second panel of 64 columns: CuTe has no distance to it.
  const uint64_t ignored = Columns == 64 ? uint64_t(0x3fff) << 16 : 0;
  right = true;
  for (int k = 0; k < Depth / 16; ++k)
    right &= ((describe<true>(panels, 0) + rowsFurther(k)) & ~ignored) == of.description(memory, 0, k);
  expect(right, "descriptions of panels: " + of.name);
}

}  // namespace

int checkLayouts(const char* path) {
  const Golden golden(path);
  checkWarp<Half>(golden, "f16");
  checkWarp<BFloat16>(golden, "bf16");
  checkLoads(golden);
  checkResults(golden);
  for (const int depth : {64, 128}) {
    checkGroup<Half, 8, false>(golden, "128", 128, depth);
    checkGroup<Half, 8, true>(golden, "128", 128, depth);
    checkGroup<BFloat16, 16, false>(golden, "128", 128, depth);
    checkGroup<BFloat16, 16, true>(golden, "128", 128, depth);
  }
  for (const char* swizzle : {"64", "32", "0"}) {
    checkGroup<Half, 8, false>(golden, swizzle, 64, 64);
    checkGroup<Half, 8, true>(golden, swizzle, 64, 64);
  }
  checkPanels<128, 64>(golden, "a");
  checkPanels<128, 128>(golden, "a");
  checkPanels<64, 64>(golden, "b");
  checkPanels<64, 128>(golden, "b");
  checkPanels<128, 64>(golden, "b");
  checkPanels<128, 128>(golden, "b");
  checkTransposed<64, 64>(golden);
  checkTransposed<64, 128>(golden);
  checkTransposed<128, 64>(golden);
  checkTransposed<128, 128>(golden);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
