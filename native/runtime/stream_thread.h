#pragma once

namespace anneal {

/// Whether this thread is a stream's own, which may enter OpenMP and oneDNN.
bool onStreamThread();

}  // namespace anneal
