#pragma once
#include <string>
#include <vector>

namespace anneal::cuda {

/// Folders, each with its slash at the end, in which NVIDIA's libraries may lie; "" stands for where the dynamic loader
/// looks.
struct LibraryFolders {
  std::vector<std::string> chosen;  // of ANNEAL_CUDA_LIBRARIES: nothing else counts while a library is there
  std::vector<std::string> usual;   // beside the backend, of the environment, the system's, of Python's packages
};

/// Of this process, as its environment variables and the file system are now.
LibraryFolders libraryFolders();

}  // namespace anneal::cuda
