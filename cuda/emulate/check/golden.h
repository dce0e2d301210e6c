#pragma once
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

/// What CuTe says: maps that are linear in the bits of their indices, by their values at the powers of 2.
class Golden {
 public:
  explicit Golden(const char* path) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      const size_t colon = line.find("\": [");
      if (colon == std::string::npos) continue;
      std::istringstream numbers(line.substr(colon + 4));
      auto& to = numbers_[line.substr(3, colon - 3)];
      for (int number; numbers >> number; numbers.ignore()) to.push_back(number);
    }
  }
  const std::vector<int>& numbers(const std::string& name) const {
    const auto found = numbers_.find(name);
    if (found == numbers_.end())
      throw std::runtime_error(name + ": not in the file; test/cuda/layouts/make.py writes it");
    return found->second;
  }
  int at(const std::string& name, int index) const {
    int value = 0;
    for (const int bit : numbers(name)) {
      value ^= index & 1 ? bit : 0;
      index >>= 1;
    }
    return value;
  }
  /// Which element of a matrix a lane, or a group's thread, holds as its v-th.
  int held(const std::string& fragment, int lane, int v) const {
    return at(fragment + " lane", lane) ^ at(fragment + " value", v);
  }

 private:
  std::map<std::string, std::vector<int>> numbers_;
};
