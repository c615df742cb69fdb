// Owning host arrays.
#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <vector>

#include "promiseg/core/tensor_view.hpp"

namespace promiseg {

/// Alignment of every allocation of the library, in bytes, whatever the compiler's flags are.
inline constexpr std::size_t kAlignment = 64;

template <class T>
struct AlignedAllocator {
  using value_type = T;

  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>& /*other*/) {}  // NOLINT(google-explicit-constructor)

  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{kAlignment}));
  }
  void deallocate(T* data, std::size_t /*count*/) {
    ::operator delete (data, std::align_val_t{kAlignment});
  }
  friend bool operator==(const AlignedAllocator& /*a*/, const AlignedAllocator& /*b*/) {
    return true;
  }
};

/// A row-major host array of a fixed rank with value semantics; new elements are zero.
template <class T, std::size_t Rank>
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(const Extents<Rank>& extents)
      : extents_(extents), elements_(static_cast<std::size_t>(element_count(extents))) {}

  /// A contiguous copy of a host view.
  explicit Tensor(TensorView<const T, Rank> source) : Tensor(source.extents()) {
    copy_elements(source, elements_.data());
  }

  const Extents<Rank>& extents() const { return extents_; }
  Index extent(std::size_t axis) const { return extents_[axis]; }
  Index size() const { return static_cast<Index>(elements_.size()); }
  bool empty() const { return elements_.empty(); }
  T* data() { return elements_.data(); }
  const T* data() const { return elements_.data(); }
  std::span<T> elements() { return elements_; }
  std::span<const T> elements() const { return elements_; }

  TensorView<T, Rank> view() { return {elements_.data(), extents_}; }
  TensorView<const T, Rank> view() const { return {elements_.data(), extents_}; }
  operator TensorView<T, Rank>() { return view(); }              // NOLINT
  operator TensorView<const T, Rank>() const { return view(); }  // NOLINT

 private:
  static T* copy_elements(TensorView<const T, Rank> source, T* to) {
    if constexpr (Rank == 0) {
      *to++ = *source.data();
    } else {
      for (Index i = 0; i < source.extent(0); ++i) {
        if constexpr (Rank == 1) {
          *to++ = source(i);
        } else {
          to = Tensor<T, Rank - 1>::copy_elements(source.select(0, i), to);
        }
      }
    }
    return to;
  }

  template <class U, std::size_t OtherRank>
  friend class Tensor;

  Extents<Rank> extents_{};
  std::vector<T, AlignedAllocator<T>> elements_;
};

}  // namespace promiseg
