#pragma once
#include <span>

namespace anneal::cuda {

/// A header in memory, as sources that are compiled at run time include it.
struct Header {
  const char *name, *text;
};
/// All that they include, with what stands for the standard library's: written by the build (embed.cmake).
std::span<const Header> embeddedHeaders();

}  // namespace anneal::cuda
