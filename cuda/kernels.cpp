#include "kernels.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "compiler.h"
#include "embedded.h"
#include "kernel_cache.h"
#include "launch.h"
#if defined(ANNEAL_CUDA_EMULATE)
#include "emulate/loaded.h"
#endif

namespace anneal::cuda {
namespace {

#if defined(ANNEAL_CUDA_EMULATE)

const Compiler& compiler() { return emulatedCompiler(); }

/// A kernel that the emulator's compiler has made: a library of the host, of which a function runs one thread.
class Loaded {
 public:
  explicit Loaded(const std::string& code) : call_(emulate::loadKernel(code)) {}
  void launch(unsigned blocks, dim3 threads, const KernelArguments& arguments) const {
    if (call_.translated) emulate::checkTranslated(*call_.translated, arguments.sizes(), threads, 0);
    const auto owned = std::make_shared<const KernelArguments>(arguments);
    cuda::launch(run, dim3(blocks), threads, call_.shared, stream(), call_,
                 std::make_shared<const Bound>(Bound{owned, owned->pointers()}));
  }

 private:
  struct Bound {
    std::shared_ptr<const KernelArguments> owned;
    std::vector<void*> pointers;
  };
  static void run(emulate::KernelCall call, std::shared_ptr<const Bound> arguments) {
    call.run(const_cast<void**>(arguments->pointers.data()));
  }
  emulate::KernelCall call_;
};

#else

const Compiler& compiler() { return nvrtc(); }

/// A kernel on the device that is current when it is made. It stays: graphs of CUDA may refer to it.
class Loaded {
 public:
  explicit Loaded(const std::string& code) {
    cudaLibrary_t library;
    check(cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0), "loading a kernel");
    check(cudaLibraryGetKernel(&kernel_, library, "fused"), "finding a kernel");
    // Now rather than at the first launch, which may be recorded into a graph.
    cudaFuncAttributes attributes;
    check(cudaFuncGetAttributes(&attributes, kernel_), "loading a kernel");
  }
  void launch(unsigned blocks, dim3 threads, const KernelArguments& arguments) const {
    check(cudaLaunchKernel(static_cast<const void*>(kernel_), dim3(blocks), threads, arguments.pointers().data(), 0,
                           stream()),
          "launch");
  }

 private:
  cudaKernel_t kernel_;
};

#endif

/// Everything but the source that code depends on.
std::string settings(int capability) {
  static const std::string headers = [] {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const Header& h : embeddedHeaders())
      for (const char* c = h.text; *c; ++c) hash = (hash ^ uint8_t(*c)) * 0x100000001b3u;
    return std::to_string(hash);
  }();
  return text(compiler().version(), " compute ", capability, " headers ", headers, '\n');
}

class Kernel final : public RuntimeKernel {
 public:
  Kernel(const CudaDevice& device, std::string source) : device_(device), source_(std::move(source)) {}

  /// Compiles it, unless another thread does.
  void make() {
    if (taken_.exchange(true)) return;
    try {
      device_.activate();
      load();
    } catch (const std::exception& e) {
      error_ = std::make_unique<Error>(Code::Device, text("cuda: a kernel of joined operations could not be made: ",
                                                          e.what(), ". ANNEAL_CUDA_FUSION=0 runs them one by one"));
    }
    std::lock_guard lock(mutex_);
    done_.store(true, std::memory_order_release);
    made_.notify_all();
  }

  void launch(unsigned blocks, dim3 threads, const KernelArguments& arguments) const override {
    wait();
    if (error_) throw *error_;
    loaded_->launch(blocks, threads, arguments);
  }

  std::string problem() const override {
    wait();
    return error_ ? error_->what() : "";
  }

 private:
  void load() {
    const std::string key = settings(device_.capability()) + source_;
    if (const auto code = findCode(key)) {
      try {
        loaded_ = std::make_unique<Loaded>(*code);
        return;
      } catch (const Error&) {  // such as code of a newer NVRTC than the driver knows
        forgetCode(key);
      }
    }
    const std::string code = compiler().compile(source_, device_.capability());
    loaded_ = std::make_unique<Loaded>(code);
    keepCode(key, code);
  }

  void wait() const {
    if (done_.load(std::memory_order_acquire)) return;
    const_cast<Kernel*>(this)->make();
    std::unique_lock lock(mutex_);
    made_.wait(lock, [&] { return done_.load(); });
  }

  const CudaDevice& device_;
  const std::string source_;
  std::atomic<bool> taken_{false}, done_{false};
  std::unique_ptr<Loaded> loaded_;
  std::unique_ptr<Error> error_;
  mutable std::mutex mutex_;
  mutable std::condition_variable made_;
};

/// Threads that compile. Those who cannot wait for them compile themselves: see Kernel::wait().
class Workers {
 public:
  void add(std::shared_ptr<Kernel> kernel) {
    std::lock_guard lock(mutex_);
    if (over_) return;
    queue_.push_back(std::move(kernel));
    const int most = std::clamp(int(std::thread::hardware_concurrency()) / 2, 1, 8);
    if (idle_ == 0 && threads_ < most) {
      ++threads_;
      std::thread([this] { work(); }).detach();  // lives as long as the process
    }
    wake_.notify_one();
  }

  void quiesce() {
    std::unique_lock lock(mutex_);
    over_ = true;
    queue_.clear();
    rest_.wait(lock, [&] { return idle_ == threads_; });
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      rest_.notify_all();
      wake_.wait(lock, [&] { return !queue_.empty(); });
      --idle_;
      const std::shared_ptr<Kernel> next = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      next->make();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, rest_;
  std::deque<std::shared_ptr<Kernel>> queue_;
  int threads_ = 0, idle_ = 0;
  bool over_ = false;
};

/// Never destroyed, since its threads run until the process is gone.
Workers& workers() {
  static auto* all = new Workers;
  return *all;
}

}  // namespace

std::shared_ptr<const RuntimeKernel> runtimeKernel(const CudaDevice& device, const std::string& source) {
  static std::mutex mutex;
  static auto& known = *new std::map<std::pair<int, std::string>, std::shared_ptr<Kernel>>;
  std::lock_guard lock(mutex);
  auto& kernel = known[{device.index(), source}];
  if (!kernel) {
    kernel = std::make_shared<Kernel>(device, source);
    workers().add(kernel);
  }
  return kernel;
}

std::string runtimeKernelProblem() {
  const char* chosen = std::getenv("ANNEAL_CUDA_FUSION");
  if (chosen && *chosen == '0') return "ANNEAL_CUDA_FUSION=0 is set";
  return compiler().problem();
}

std::string runtimeKernelProblem(const CudaDevice& device) {
  std::string problem = runtimeKernelProblem();
  if (!problem.empty()) return problem;
  static std::mutex mutex;
  static auto& known = *new std::map<int, std::string>;
  std::lock_guard lock(mutex);
  const auto [at, added] = known.try_emplace(device.index());
  if (!added) return at->second;
  at->second =
      runtimeKernel(device,
                    "#include \"fused.cuh\"\nextern \"C\" __global__ void fused(int*) {}\nANNEAL_KERNEL(fused)\n")
          ->problem();
  if (!at->second.empty()) std::fputs(text("anneal: ", at->second, '\n').c_str(), stderr);
  return at->second;
}

std::string describeRuntimeKernels() {
  const std::string problem = runtimeKernelProblem();
  return problem.empty() ? compiler().version() : problem;
}

void quiesceRuntimeKernels() { workers().quiesce(); }

}  // namespace anneal::cuda
