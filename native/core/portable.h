#pragma once

/// Marks functions that compute on the host and in kernels of a GPU alike: nothing for a C++ compiler.
#if defined(__CUDACC__)
#define ANNEAL_HD __host__ __device__
#else
#define ANNEAL_HD
#endif
