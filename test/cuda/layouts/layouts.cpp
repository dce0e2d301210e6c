// Prints what CuTe says of the tensor cores' instructions that cuda/ uses, as JSON: see make.py.
// All of these maps are linear in the bits of their indices: of each there are the values at the powers of 2, and an
// index's value is the exclusive or of those of its bits. It is checked here that this holds of all indices.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

// Shared memory is this program's own: CuTe converts its addresses by this function.
inline size_t __cvta_generic_to_shared(const void* at) { return reinterpret_cast<size_t>(at); }
#define CUTE_CVTA_GENERIC_TO_SHARED_ACTIVATED 1
#include <cute/atom/copy_traits_sm75.hpp>
#include <cute/atom/mma_atom.hpp>
#include <cute/tensor.hpp>

using namespace cute;
namespace GMMA = cute::SM90::GMMA;

namespace {

const char* separator = "{\n";

void print(const std::string& name, const std::vector<int>& numbers) {
  std::printf("%s  \"%s\": [", separator, name.c_str());
  for (size_t i = 0; i < numbers.size(); ++i) std::printf(i == 0 ? "%d" : ", %d", numbers[i]);
  std::printf("]");
  separator = ",\n";
}

int combined(const std::vector<int>& bits, int index) {
  int value = 0;
  for (size_t i = 0; i < bits.size(); ++i) value ^= index >> i & 1 ? bits[i] : 0;
  return value;
}

/// Prints f(i, j), i < m and j < n, under the two indices' names.
template <class F>
void printMap(const std::string& name, const char* first, int m, const char* second, int n, F&& f) {
  std::vector<int> is, js;
  for (int i = 1; i < m; i *= 2) is.push_back(f(i, 0));
  for (int j = 1; j < n; j *= 2) js.push_back(f(0, j));
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j)
      if (f(i, j) != (combined(is, i) ^ combined(js, j))) {
        std::fprintf(stderr, "%s: not linear in the bits of its indices\n", name.c_str());
        std::exit(EXIT_FAILURE);
      }
  print(name + " " + first, is);
  print(name + " " + second, js);
}

/// Which element of a matrix, row by row, a thread holds as its v-th: CuTe counts by columns.
template <class Layout>
void printFragment(const std::string& name, const Layout& layout, int rows, int columns) {
  printMap(name, "lane", int(size<0>(layout)), "value", int(size<1>(layout)), [&](int thread, int v) {
    const int place = layout(thread, v);
    return place % rows * columns + place / rows;
  });
}

template <class Op>
void printWarp(const std::string& name) {
  using Traits = MMA_Traits<Op>;
  printFragment(name + " a", typename Traits::ALayout{}, 16, 16);
  printFragment(name + " b", typename Traits::BLayout{}, 8, 16);
  printFragment(name + " c", typename Traits::CLayout{}, 16, 8);
}

/// Where a lane's v-th element comes from: 8 times the lane that brought its row's address, plus its place there.
template <class Op>
void printLoad(const std::string& name) {
  using Traits = Copy_Traits<Op>;
  const typename Traits::SrcLayout from;
  const typename Traits::DstLayout to;
  std::vector<int> source(32 * 8);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 8; ++i) source[size_t(from(lane, i * 16) / 16)] = lane * 8 + i;
  printMap(name, "lane", 32, "value", 8, [&](int lane, int v) { return source[size_t(to(lane, v * 16) / 16)]; });
}

alignas(1024) half_t memory[256 * 128];

/// A factor in shared memory: its elements' addresses in bytes, its descriptors' fields, and for each 16 of the depth,
/// the first 64 or N rows before the next, where a description starts, in units of 16 bytes.
template <class Layout, class Fragment>
void printShared(const std::string& name, const Layout& layout, Fragment&& describe) {
  Tensor matrix = make_tensor(make_smem_ptr(memory), layout);
  const auto address = [&](int row, int k) {
    return int(reinterpret_cast<const char*>(&matrix(row, k)) - reinterpret_cast<const char*>(memory));
  };
  printMap(name, "row", int(size<0>(layout)), "depth", int(size<1>(layout)), address);
  Tensor descriptors = describe(matrix);
  std::vector<int> starts;
  for (int m = 0; m < int(size<1>(descriptors)); ++m)
    for (int k = 0; k < int(size<2>(descriptors)); ++k) {
      const GmmaDescriptor d = descriptors(0, m, k), first = descriptors(0, 0, 0);
      starts.push_back((d.bitfield.start_address_ - (reinterpret_cast<size_t>(memory) >> 4)) & 0x3fff);
      if ((d.desc_ ^ first.desc_) >> 14 != 0) std::exit(EXIT_FAILURE);
    }
  print(name + " starts", starts);
  const GmmaDescriptor d = descriptors(0, 0, 0);
  print(name + " leading, stride, base, type", {d.bitfield.leading_byte_offset_, d.bitfield.stride_byte_offset_,
                                                d.bitfield.base_offset_, d.bitfield.layout_type_});
}

template <int Rows, int Depth>
std::string nameOf(const char* factor, const char* swizzle) {
  return std::string(factor) + " " + swizzle + " " + std::to_string(Rows) + "x" + std::to_string(Depth);
}

/// A by rows, from which groups take 64.
template <int Rows, int Depth, class Atom>
void printLeft(const char* swizzle, Atom atom) {
  printShared(
      nameOf<Rows, Depth>("a", swizzle), tile_to_shape(atom, Shape<Int<Rows>, Int<Depth>>{}), [](const auto& matrix) {
        const auto group = make_tiled_mma(SM90_64x64x16_F32F16F16_SS<GMMA::Major::K, GMMA::Major::K>{}).get_slice(0);
        return group.make_fragment_A(group.partition_A(matrix));
      });
}

/// B with 64 or 128 columns: by columns, or by rows. `Order` is which direction atoms follow each other in first.
template <class Order, int Columns, int Depth, GMMA::Major Major, class Atom>
void printRight(const char* swizzle, Atom atom) {
  using Op = std::conditional_t<Columns == 64, SM90_64x64x16_F32F16F16_SS<GMMA::Major::K, Major>,
                                SM90_64x128x16_F32F16F16_SS<GMMA::Major::K, Major>>;
  printShared(nameOf<Columns, Depth>(Major == GMMA::Major::K ? "b" : "b transposed", swizzle),
              tile_to_shape(atom, Shape<Int<Columns>, Int<Depth>>{}, Order{}), [](const auto& matrix) {
                const auto group = make_tiled_mma(Op{}).get_slice(0);
                return group.make_fragment_B(group.partition_B(matrix));
              });
}

template <int Columns, int Depth, class Atom>
void printByColumns(const char* swizzle, Atom atom) {
  printRight<Step<_1, _2>, Columns, Depth, GMMA::Major::K>(swizzle, atom);
}
/// As panels lie: 64 columns of all of the depth before the next 64.
template <int Columns, int Depth, class Atom>
void printByRows(const char* swizzle, Atom atom) {
  printRight<Step<_2, _1>, Columns, Depth, GMMA::Major::MN>(swizzle, atom);
}

/// The sizes that our kernels have, with the swizzle that they use.
void printOwn() {
  using ByColumns = GMMA::Layout_K_SW128_Atom<half_t>;
  using ByRows = GMMA::Layout_MN_SW128_Atom<half_t>;
  printLeft<128, 64>("128", ByColumns{});
  printLeft<128, 128>("128", ByColumns{});
  printByColumns<64, 64>("128", ByColumns{});
  printByColumns<64, 128>("128", ByColumns{});
  printByColumns<128, 64>("128", ByColumns{});
  printByColumns<128, 128>("128", ByColumns{});
  printByRows<64, 64>("128", ByRows{});
  printByRows<64, 128>("128", ByRows{});
  printByRows<128, 64>("128", ByRows{});
  printByRows<128, 128>("128", ByRows{});
}

/// What the emulator knows besides.
void printOthers() {
  printLeft<64, 64>("64", GMMA::Layout_K_SW64_Atom<half_t>{});
  printLeft<64, 64>("32", GMMA::Layout_K_SW32_Atom<half_t>{});
  printLeft<64, 64>("0", GMMA::Layout_K_INTER_Atom<half_t>{});
  printByColumns<64, 64>("64", GMMA::Layout_K_SW64_Atom<half_t>{});
  printByColumns<64, 64>("32", GMMA::Layout_K_SW32_Atom<half_t>{});
  printByColumns<64, 64>("0", GMMA::Layout_K_INTER_Atom<half_t>{});
  printByRows<64, 64>("64", GMMA::Layout_MN_SW64_Atom<half_t>{});
  printByRows<64, 64>("32", GMMA::Layout_MN_SW32_Atom<half_t>{});
  printByRows<64, 64>("0", GMMA::Layout_MN_INTER_Atom<half_t>{});
}

}  // namespace

int main() {
  printWarp<SM80_16x8x16_F32F16F16F32_TN>("f16 mma m16n8k16");
  printWarp<SM80_16x8x16_F32BF16BF16F32_TN>("bf16 mma m16n8k16");
  printLoad<SM75_U32x4_LDSM_N>("ldmatrix x4");
  printLoad<SM75_U16x8_LDSM_T>("ldmatrix x4 trans");
  using Left = MMA_Traits<SM90_64x64x16_F32F16F16_RS<GMMA::Major::K, GMMA::Major::MN>>;
  using Wide = MMA_Traits<SM90_64x128x16_F32F16F16_RS<GMMA::Major::K, GMMA::Major::MN>>;
  using LeftB = MMA_Traits<SM90_64x64x16_F32BF16BF16_RS<GMMA::Major::K, GMMA::Major::MN>>;
  using WideB = MMA_Traits<SM90_64x128x16_F32BF16BF16_RS<GMMA::Major::K, GMMA::Major::MN>>;
  static_assert(std::is_same_v<Left::ALayout, Wide::ALayout> && std::is_same_v<Left::ALayout, LeftB::ALayout> &&
                std::is_same_v<Left::CLayout, LeftB::CLayout> && std::is_same_v<Wide::CLayout, WideB::CLayout> &&
                std::is_same_v<Left::ALayout, WideB::ALayout>);
  printFragment("wgmma a", Left::ALayout{}, 64, 16);
  printFragment("wgmma c n64", Left::CLayout{}, 64, 64);
  printFragment("wgmma c n128", Wide::CLayout{}, 64, 128);
  printOwn();
  printOthers();
  std::printf("\n}\n");
}
