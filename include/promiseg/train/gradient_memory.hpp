// Where gradients lie, and which values have one.
#pragma once

#include <cstdint>
#include <map>

#include "promiseg/core/buffer.hpp"
#include "promiseg/core/tensor_view.hpp"

namespace promiseg::train {

/// A set of address ranges.
class AddressRanges {
 public:
  using Address = std::uintptr_t;

  void insert(Address begin, Address end) {
    auto next = ranges_.lower_bound(begin);
    if (next != ranges_.begin() && std::prev(next)->second >= begin) --next;
    while (next != ranges_.end() && next->first <= end) {
      begin = std::min(begin, next->first);
      end = std::max(end, next->second);
      next = ranges_.erase(next);
    }
    ranges_.emplace(begin, end);
  }

  void erase(Address begin, Address end) {
    auto next = ranges_.lower_bound(begin);
    if (next != ranges_.begin() && std::prev(next)->second > begin) --next;
    while (next != ranges_.end() && next->first < end) {
      const auto [first, last] = *next;
      next = ranges_.erase(next);
      if (first < begin) ranges_.emplace(first, begin);
      if (last > end) next = ranges_.emplace(end, last).first;
    }
  }

  /// True if any of [begin, end) is in the set.
  bool overlaps(Address begin, Address end) const {
    const auto next = ranges_.lower_bound(end);
    return next != ranges_.begin() && std::prev(next)->second > begin;
  }

  void clear() { ranges_.clear(); }

 private:
  std::map<Address, Address> ranges_;
};

/// Model code overwrites its tensors and uses memory again, so a value is known by where it lies at
/// a time. Every block of the backend's memory has a shadow of the same size behind it; the
/// gradient of what lies at an address lies at the same place of the shadow. Going backwards, an
/// operation takes the gradient of its output and leaves zero there, since what lay there before it
/// ran is another value.
class GradientMemory {
 public:
  /// Turns a buffer of twice the size into one with a shadow. The shadow must be made zero.
  void add_shadow(Buffer& buffer) {
    const std::size_t size = buffer.size() / 2;
    buffer.truncate(size);
    const auto begin = address(buffer.data());
    // Blocks that have been freed are forgotten when their memory comes again.
    auto next = blocks_.lower_bound(begin);
    if (next != blocks_.begin() && std::prev(next)->second > begin) --next;
    while (next != blocks_.end() && next->first < begin + 2 * size) next = blocks_.erase(next);
    blocks_.emplace(begin, begin + size);
  }

  /// The gradient of a view's values. Throws `invalid_argument` for memory without a shadow.
  template <class T, std::size_t Rank>
  TensorView<float, Rank> gradient(const TensorView<T, Rank>& view) const {
    const auto begin = address(view.data());
    const auto next = blocks_.upper_bound(begin);
    require(next != blocks_.begin() && std::prev(next)->second > begin, ErrorCode::invalid_argument,
            "gradient: a view of shape ", shape_text(view.extents()),
            " lies outside the memory that the tape gave out");
    const auto [first, last] = *std::prev(next);
    float* data = const_cast<float*>(view.data()) + (last - first) / sizeof(float);
    return {data, view.extents(), view.strides(), view.space()};
  }

  /// True if the loss may depend on some of a view's values in a way that is wanted. May say so of
  /// neighbours too, never the other way round.
  template <class T, std::size_t Rank>
  bool needs(const TensorView<T, Rank>& view) const {
    if (view.data() == nullptr || view.empty()) return false;
    const auto [begin, end] = bounds(view);
    return values_.overlaps(begin, end) || weights_.overlaps(begin, end);
  }

  /// Notes whether new values have a gradient.
  template <class T, std::size_t Rank>
  void note(const TensorView<T, Rank>& view, bool needed) {
    if (view.empty()) return;
    const auto [begin, end] = bounds(view);
    if (needed) {
      values_.insert(begin, end);
    } else if (static_cast<std::size_t>(view.size()) * sizeof(T) == end - begin) {
      values_.erase(begin, end);  // a view with gaps may have neighbours that need one
    }
  }

  /// The same of weights, which `forget_values` keeps.
  template <class T, std::size_t Rank>
  void note_weight(const TensorView<T, Rank>& view) {
    const auto [begin, end] = bounds(view);
    weights_.insert(begin, end);
  }

  void forget_values() { values_.clear(); }
  void forget_weights() { weights_.clear(); }

 private:
  using Address = AddressRanges::Address;

  static Address address(const void* data) { return reinterpret_cast<Address>(data); }

  template <class T, std::size_t Rank>
  static std::pair<Address, Address> bounds(const TensorView<T, Rank>& view) {
    Index last = 0;
    for (std::size_t axis = 0; axis < Rank; ++axis) {
      last += (view.extent(axis) - 1) * view.stride(axis);
    }
    return {address(view.data()), address(view.data() + last + 1)};
  }

  std::map<Address, Address> blocks_;
  AddressRanges values_;
  AddressRanges weights_;
};

}  // namespace promiseg::train
