// Raw memory of some space, owned.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

#include "promiseg/core/tensor.hpp"

namespace promiseg {

/// Owns bytes that a backend allocated, and knows how to give them back.
class Buffer {
 public:
  using Release = void (*)(void*);

  Buffer() = default;
  Buffer(void* data, std::size_t size, MemorySpace space, Release release)
      : data_(data), size_(size), space_(space), release_(release) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr) release_(data_);
  }

  /// Makes `size()` smaller; all of the memory stays owned.
  void truncate(std::size_t size) {
    require(size <= size_, ErrorCode::invalid_argument, "buffer of ", size_,
            " bytes cannot be truncated to ", size);
    size_ = size;
  }

  void* data() const { return data_; }
  std::size_t size() const { return size_; }
  MemorySpace space() const { return space_; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(space_, other.space_);
    std::swap(release_, other.release_);
  }

  void* data_ = nullptr;
  std::size_t size_ = 0;
  MemorySpace space_ = MemorySpace::host;
  Release release_ = nullptr;
};

/// Uninitialised host memory aligned to `kAlignment`. Throws `std::bad_alloc`.
inline Buffer allocate_host(std::size_t size) {
  constexpr std::align_val_t kAlign{kAlignment};
  return {::operator new(size, kAlign), size, MemorySpace::host,
          [](void* data) { ::operator delete(data, kAlign); }};
}

}  // namespace promiseg
