#pragma once
// NVRTC declares what kernels need of CUDA by itself.
