#pragma once
#include <atomic>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace anneal {

/// The base of objects that count their references. When the last Ref goes they are deleted, or do what `unreferenced`
/// says.
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;
  // Memory is kept by size for the thread's next objects.
  static void* operator new(size_t bytes);
  static void operator delete(void* memory, size_t bytes);
  int references() const { return count_.load(std::memory_order_acquire); }

 protected:
  template <class T>
  friend class Ref;
  virtual ~RefCounted() = default;
  virtual void unreferenced() { delete this; }

 private:
  mutable std::atomic<int> count_{0};
};

template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) {
    // Nobody else knows an object without references.
    if (object && object->references() == 0) object->count_.store(1, std::memory_order_relaxed);
    else retain();
  }
  Ref(const Ref& other) : object_(other.object_) { retain(); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) release(object_);
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  bool operator==(const Ref&) const = default;

 private:
  void retain() const {
    if (object_) object_->count_.fetch_add(1, std::memory_order_relaxed);
  }
  static void release(T* object) {
    RefCounted* c = const_cast<std::remove_const_t<T>*>(object);
    // The only reference cannot be copied meanwhile; an atomic subtraction would be dear.
    if (c->count_.load(std::memory_order_acquire) == 1) c->count_.store(0, std::memory_order_relaxed);
    else if (c->count_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    c->unreferenced();
  }
  T* object_ = nullptr;
};

template <class T, class... Args>
Ref<T> makeRef(Args&&... args) {
  return Ref<T>(new T(std::forward<Args>(args)...));
}

}  // namespace anneal
