#pragma once
// oneDNN's matrix product with nothing around it: the ceiling that ours are measured against.
#ifdef ANNEAL_ONEDNN
#include <unordered_map>

#include "cpu/gemm.h"
#include "cpu/onednn.h"

namespace anneal::bench {

class Alone {
 public:
  explicit Alone(const cpu::Gemm& g) {
    auto type = dnnl::memory::data_type::f32;
    int64_t batch = g.batch.product();
    dnnl::memory::desc a({batch, g.m, g.k}, type, dnnl::memory::dims{g.m * g.k, g.a.row, g.a.column});
    dnnl::memory::desc b({batch, g.k, g.n}, type, dnnl::memory::dims{g.k * g.n, g.b.row, g.b.column});
    dnnl::memory::desc c({batch, g.m, g.n}, type, dnnl::memory::dims{g.m * g.n, g.n, 1});
    if (batch == 1) {
      a = {{g.m, g.k}, type, dnnl::memory::dims{g.a.row, g.a.column}};
      b = {{g.k, g.n}, type, dnnl::memory::dims{g.b.row, g.b.column}};
      c = {{g.m, g.n}, type, dnnl::memory::dims{g.n, 1}};
    }
    dnnl::engine& e = cpu::onednn::engine();
    primitive_ = dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), e));
    arguments_ = {{DNNL_ARG_SRC, {a, e, const_cast<void*>(g.a.data)}},
                  {DNNL_ARG_WEIGHTS, {b, e, const_cast<void*>(g.b.data)}},
                  {DNNL_ARG_DST, {c, e, g.c}}};
  }
  void operator()() { primitive_.execute(cpu::onednn::stream(), arguments_); }

 private:
  dnnl::matmul primitive_;
  std::unordered_map<int, dnnl::memory> arguments_;
};

}  // namespace anneal::bench
#endif
