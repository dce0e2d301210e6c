#pragma once

/// Holds the emulator and the kernels' helpers against the file that test/cuda/layouts/make.py writes.
int checkLayouts(const char* path);
