#pragma once
#include <memory>
#include <string>

#include "core/tensor.h"

namespace anneal {

/// A file's bytes in memory, read page by page as they are used. Writing to them changes a private copy, never the
/// file.
class MappedFile {
 public:
  /// Throws an Error (Io) when the file cannot be opened or mapped.
  explicit MappedFile(const std::string& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

/// A tensor over the bytes of `file` from `offset` on, which keeps the file mapped; a copy where the bytes are not
/// aligned to the elements. Throws an Error (Format) where they lie outside the file.
Tensor mappedTensor(const std::shared_ptr<MappedFile>& file, uint64_t offset, const Spec& spec);

}  // namespace anneal
