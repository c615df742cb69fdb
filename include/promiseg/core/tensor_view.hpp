// A non-owning, strided, rank-typed view of numbers; the vocabulary type of every primitive.
#pragma once

#include <array>
#include <cstddef>
#include <ostream>
#include <type_traits>

#include "promiseg/core/error.hpp"

namespace promiseg {

using Index = std::ptrdiff_t;

template <std::size_t Rank>
using Extents = std::array<Index, Rank>;

/// Where the memory behind a view lives. A backend accepts views of its own space only.
enum class MemorySpace { host, cuda };

/// Number of elements of a shape; 1 for rank 0.
template <std::size_t Rank>
constexpr Index element_count(const Extents<Rank>& extents) {
  Index count = 1;
  for (Index extent : extents) count *= extent;
  return count;
}

/// Strides of a row-major (C order) array, in elements.
template <std::size_t Rank>
constexpr Extents<Rank> row_major_strides(const Extents<Rank>& extents) {
  Extents<Rank> strides{};
  Index stride = 1;
  for (std::size_t axis = Rank; axis-- > 0;) {
    strides[axis] = stride;
    stride *= extents[axis];
  }
  return strides;
}

/// "[1, 64, 64, 256]", for messages.
struct ShapeText {
  const Index* extents;
  std::size_t rank;

  friend std::ostream& operator<<(std::ostream& out, const ShapeText& shape) {
    out << '[';
    for (std::size_t axis = 0; axis < shape.rank; ++axis) {
      out << (axis == 0 ? "" : ", ") << shape.extents[axis];
    }
    return out << ']';
  }
};

template <std::size_t Rank>
ShapeText shape_text(const Extents<Rank>& extents) {
  return {extents.data(), Rank};
}

/// Pointer, extents, strides (in elements, zero to broadcast) and memory space. Trivially
/// copyable; views go by value. The names follow `std::mdspan`.
template <class T, std::size_t Rank>
class TensorView {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;

  constexpr TensorView() = default;

  /// A row-major view.
  constexpr TensorView(T* data, Extents<Rank> extents, MemorySpace space = MemorySpace::host)
      : TensorView(data, extents, row_major_strides(extents), space) {}

  constexpr TensorView(T* data, Extents<Rank> extents, Extents<Rank> strides,
                       MemorySpace space = MemorySpace::host)
      : data_(data), extents_(extents), strides_(strides), space_(space) {}

  /// A view of constants from a view of variables.
  constexpr operator TensorView<const T, Rank>() const  // NOLINT(google-explicit-constructor)
      requires(!std::is_const_v<T>) {
    return {data_, extents_, strides_, space_};
  }

  constexpr T* data() const { return data_; }
  constexpr MemorySpace space() const { return space_; }
  constexpr const Extents<Rank>& extents() const { return extents_; }
  constexpr const Extents<Rank>& strides() const { return strides_; }
  constexpr Index extent(std::size_t axis) const { return extents_[axis]; }
  constexpr Index stride(std::size_t axis) const { return strides_[axis]; }
  constexpr Index size() const { return element_count(extents_); }
  constexpr bool empty() const { return size() == 0; }

  /// One element; meaningful on the host only, unchecked.
  template <class... I>
  constexpr T& operator()(I... index) const {
    static_assert(sizeof...(I) == Rank, "as many indices as the view has axes");
    const Extents<Rank> at{static_cast<Index>(index)...};
    Index offset = 0;
    for (std::size_t axis = 0; axis < Rank; ++axis) offset += at[axis] * strides_[axis];
    return data_[offset];
  }

  /// True if the elements lie in row-major order without gaps.
  constexpr bool is_contiguous() const {
    Index expected = 1;
    for (std::size_t axis = Rank; axis-- > 0;) {
      if (extents_[axis] != 1 && strides_[axis] != expected) return false;
      expected *= extents_[axis];
    }
    return true;
  }

  /// The part `[begin, begin + count)` of one axis. Throws `invalid_argument` outside the view.
  constexpr TensorView slice(std::size_t axis, Index begin, Index count) const {
    require(axis < Rank && begin >= 0 && count >= 0 && begin + count <= extents_[axis],
            ErrorCode::invalid_argument, "slice [", begin, ", ", begin + count, ") of axis ", axis,
            " is outside a view of shape ", shape_text(extents_));
    TensorView part = *this;
    if (data_ != nullptr) part.data_ += begin * strides_[axis];
    part.extents_[axis] = count;
    return part;
  }

  /// The view at one index of an axis, that axis dropped.
  constexpr TensorView<T, Rank - 1> select(std::size_t axis, Index index) const requires(Rank > 0) {
    const TensorView part = slice(axis, index, 1);
    Extents<Rank - 1> extents{};
    Extents<Rank - 1> strides{};
    for (std::size_t from = 0, to = 0; from < Rank; ++from) {
      if (from == axis) continue;
      extents[to] = extents_[from];
      strides[to++] = strides_[from];
    }
    return {part.data(), extents, strides, space_};
  }

  /// Axis `i` of the result is axis `order[i]` of this view.
  constexpr TensorView permuted(const std::array<std::size_t, Rank>& order) const {
    TensorView result = *this;
    for (std::size_t axis = 0; axis < Rank; ++axis) {
      result.extents_[axis] = extents_[order[axis]];
      result.strides_[axis] = strides_[order[axis]];
    }
    return result;
  }

  /// The same elements in another row-major shape. Throws `shape_mismatch` if the counts differ
  /// or the view has gaps.
  template <std::size_t NewRank>
  constexpr TensorView<T, NewRank> reshaped(const Extents<NewRank>& extents) const {
    require(element_count(extents) == size(), ErrorCode::shape_mismatch, "cannot view shape ",
            shape_text(extents_), " as ", shape_text(extents));
    require(is_contiguous(), ErrorCode::shape_mismatch,
            "only a contiguous view can be reshaped; this one has shape ", shape_text(extents_));
    return {data_, extents, space_};
  }

  /// The same view with an axis of extent 1 put before axis `axis`; stride 0.
  constexpr TensorView<T, Rank + 1> with_unit_axis(std::size_t axis) const {
    Extents<Rank + 1> extents{};
    Extents<Rank + 1> strides{};
    for (std::size_t to = 0, from = 0; to < Rank + 1; ++to) {
      extents[to] = to == axis ? 1 : extents_[from];
      strides[to] = to == axis ? 0 : strides_[from++];
    }
    return {data_, extents, strides, space_};
  }

  /// Repeats axes of extent 1 to `extents` with stride 0. Throws `shape_mismatch` otherwise.
  constexpr TensorView broadcast_to(const Extents<Rank>& extents) const {
    TensorView result = *this;
    for (std::size_t axis = 0; axis < Rank; ++axis) {
      if (extents_[axis] == extents[axis]) continue;
      require(extents_[axis] == 1, ErrorCode::shape_mismatch, "cannot broadcast shape ",
              shape_text(extents_), " to ", shape_text(extents));
      result.extents_[axis] = extents[axis];
      result.strides_[axis] = 0;
    }
    return result;
  }

 private:
  T* data_ = nullptr;
  Extents<Rank> extents_{};
  Extents<Rank> strides_{};
  MemorySpace space_ = MemorySpace::host;
};

static_assert(std::is_trivially_copyable_v<TensorView<float, 4>>);

/// Throws `shape_mismatch`, naming `what`, unless the view has exactly these extents.
template <class T, std::size_t Rank>
void require_shape(const TensorView<T, Rank>& view, const Extents<Rank>& expected,
                   std::string_view what) {
  require(view.extents() == expected, ErrorCode::shape_mismatch, what, ": expected shape ",
          shape_text(expected), ", got ", shape_text(view.extents()));
}

}  // namespace promiseg
