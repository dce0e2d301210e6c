#pragma once
#include <optional>
#include <string>

namespace anneal::cuda {

/// Code of compiled kernels in a folder, shared by processes: ANNEAL_CUDA_CACHE, or anneal/cuda in the user's folder
/// for caches. Whatever goes wrong with files is as if there were no cache. `key`: everything that the code depends on.
std::optional<std::string> findCode(const std::string& key);
/// Old entries go when all are larger than 256 MiB.
void keepCode(const std::string& key, const std::string& code);
void forgetCode(const std::string& key);

}  // namespace anneal::cuda
