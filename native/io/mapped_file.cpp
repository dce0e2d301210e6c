#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "graph/tape.h"

namespace anneal {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

[[noreturn]] void refuse(const std::string& path) { fail(Code::Io, "map ", path, ": ", std::strerror(errno)); }

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat info;
  if (file.fd < 0 || fstat(file.fd, &info) != 0) refuse(path);
  bytes_ = size_t(info.st_size);
  if (bytes_ == 0) return;
  // Private and writable: an update in place of a loaded weight then copies the page instead of faulting.
  void* mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.fd, 0);
  if (mapped == MAP_FAILED) refuse(path);
  data_ = static_cast<std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_) munmap(data_, bytes_);
}

Tensor mappedTensor(const std::shared_ptr<MappedFile>& file, uint64_t offset, const Spec& spec) {
  size_t bytes = size_t(spec.size()) * itemSize(spec.dtype);
  require(offset <= file->bytes() && bytes <= file->bytes() - offset, Code::Format, "mapped file: ", spec, " at byte ",
          offset, " does not fit in ", file->bytes(), " bytes");
  std::byte* data = file->data() + offset;
  if (bytes == 0 || offset % itemSize(spec.dtype) != 0) {
    Tensor copy = emptyTensor(spec, device(), true);
    if (bytes) std::memcpy(copy.impl()->storage->data, data, bytes);
    return copy;
  }
  auto impl = makeRef<TensorImpl>();
  impl->spec = spec;
  impl->strides = contiguousStrides(spec.shape);
  impl->device = &device();
  impl->storage = Ref<Block>(new ForeignBlock(device(), data, bytes, file));
  return Tensor(std::move(impl));
}

}  // namespace anneal
