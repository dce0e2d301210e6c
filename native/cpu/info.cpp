#include "cpu/info.h"

#include <hwy/highway.h>

#include "cpu/parallel.h"
#ifdef ANNEAL_ONEDNN
#include <oneapi/dnnl/dnnl.hpp>
#endif

namespace anneal::cpu {

std::vector<std::pair<std::string, std::string>> describe() {
  // Targets are bits, the best one lowest.
  int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  std::string best = hwy::TargetName(targets & -targets);
#ifdef ANNEAL_ONEDNN
  const dnnl_version_t* v = dnnl_version();
  std::string math =
      "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
#else
  std::string math = "CBLAS";
#endif
  return {{"simd", best}, {"math", math}, {"threads", std::to_string(threads())}, {"compiler", __VERSION__}};
}

}  // namespace anneal::cpu
