#pragma once
#include <string>
#include <utility>
#include <vector>

namespace anneal::cpu {

/// What this build and processor offer, as names and values for a diagnosis.
std::vector<std::pair<std::string, std::string>> describe();

}  // namespace anneal::cpu
