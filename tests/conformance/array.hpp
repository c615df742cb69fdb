// Test arrays: a tensor inside an allocation that also holds guard bands and gaps, with values that
// are the same on every machine.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "promiseg/backend/concept.hpp"
#include "promiseg/core/tensor.hpp"

namespace promiseg::conformance {

/// Stands in every element of an output's allocation that a primitive must leave alone.
inline constexpr float kSentinel = -7777.125F;

/// Where a tensor lies in its allocation.
enum class Position {
  aligned,  ///< at a multiple of `kAlignment`, guard bands on both sides
  tight,    ///< off every alignment; inputs end where their allocation ends (for the sanitizers)
};

/// How a tensor of some extents lies in memory.
template <std::size_t Rank>
struct Form {
  std::array<std::size_t, Rank> order = identity();  ///< axes, the slowest first
  std::array<Index, Rank> gaps{};                    ///< room behind the elements of each axis
  Index spread = 1;                                  ///< multiplies every stride
  std::array<bool, Rank> broadcast{};                ///< axes of stride 0

  static constexpr std::array<std::size_t, Rank> identity() {
    std::array<std::size_t, Rank> axes{};
    for (std::size_t axis = 0; axis < Rank; ++axis) axes[axis] = axis;
    return axes;
  }
};

template <std::size_t Rank>
Extents<Rank> strides_of(const Extents<Rank>& extents, const Form<Rank>& form) {
  Extents<Rank> strides{};
  Index stride = form.spread;
  for (std::size_t i = Rank; i-- > 0;) {
    const std::size_t axis = form.order[i];
    if (form.broadcast[axis]) continue;
    strides[axis] = stride;
    stride *= extents[axis] + form.gaps[axis];
  }
  return strides;
}

/// Where the elements of a tensor are among the elements of its allocation.
struct Placement {
  std::vector<Index> extents;
  std::vector<Index> strides;
  Index offset = 0;  ///< of the first element
  Index total = 0;   ///< elements of the allocation

  /// Calls `visit` with the offset of every element, the last axis running fastest.
  template <class Visit>
  void for_each(const Visit& visit) const {
    std::vector<Index> at(extents.size(), 0);
    Index position = offset;
    while (true) {
      visit(position);
      std::size_t axis = extents.size();
      while (axis > 0 && ++at[axis - 1] == extents[axis - 1]) {
        --axis;
        position -= (extents[axis] - 1) * strides[axis];
        at[axis] = 0;
      }
      if (axis == 0) return;
      position += strides[axis - 1];
    }
  }

  /// For every element of the allocation, whether it belongs to the tensor.
  std::vector<bool> occupied() const {
    std::vector<bool> taken(static_cast<std::size_t>(total), false);
    for_each([&](Index at) { taken[static_cast<std::size_t>(at)] = true; });
    return taken;
  }
};

/// Pseudo-random numbers, uniform in [offset - amplitude, offset + amplitude).
struct Values {
  std::uint64_t seed = 0;
  double amplitude = 1;
  double offset = 0;

  /// A hash of seed and index (the finaliser of SplitMix64), so no library's generator matters.
  float operator()(Index index) const {
    std::uint64_t bits = (seed << 40) + static_cast<std::uint64_t>(index) + 1;
    bits *= 0x9E3779B97F4A7C15U;
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9U;
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBU;
    bits ^= bits >> 31;
    const double unit = static_cast<double>(bits >> 40) / 8388608.0 - 1.0;  // 24 bits
    return static_cast<float>(offset + amplitude * unit);
  }
};

/// A tensor with its surroundings, on the host.
template <std::size_t Rank>
class HostArray {
 public:
  /// An operand that is only read: NaN around it, so whoever reads there is found out.
  static HostArray input(const Extents<Rank>& extents, const Form<Rank>& form, Values values,
                         Position position) {
    HostArray array(extents, form, position, position == Position::tight ? 0 : kGuard, kNan);
    array.fill(values);
    return array;
  }

  /// A destination: sentinels around it, NaN in every element that has to be written.
  static HostArray output(const Extents<Rank>& extents, const Form<Rank>& form, Position position) {
    HostArray array(extents, form, position, kGuard, kSentinel);
    array.placement_.for_each([&](Index at) { array.storage_.data()[at] = kNan; });
    return array;
  }

  /// A destination that is read first: sentinels around it, values in it.
  static HostArray in_place(const Extents<Rank>& extents, const Form<Rank>& form, Values values,
                            Position position) {
    HostArray array(extents, form, position, kGuard, kSentinel);
    array.fill(values);
    return array;
  }

  const Placement& placement() const { return placement_; }
  TensorView<const float, 1> storage() const { return storage_.view(); }

  TensorView<const float, Rank> view() const {
    return {storage_.data() + placement_.offset, extents_, strides_};
  }

  /// The same view over another copy of the storage.
  TensorView<float, Rank> view_in(float* storage, MemorySpace space) const {
    return {storage + placement_.offset, extents_, strides_, space};
  }

 private:
  static constexpr Index kGuard = 64;
  static constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

  HostArray(const Extents<Rank>& extents, const Form<Rank>& form, Position position, Index behind,
            float around)
      : extents_(extents), strides_(strides_of(extents, form)) {
    Index span = 1;
    for (std::size_t axis = 0; axis < Rank; ++axis) span += (extents[axis] - 1) * strides_[axis];
    placement_.extents.assign(extents.begin(), extents.end());
    placement_.strides.assign(strides_.begin(), strides_.end());
    placement_.offset = kGuard + (position == Position::tight ? 1 : 0);
    placement_.total = placement_.offset + span + behind;
    storage_ = Tensor<float, 1>(Extents<1>{placement_.total});
    std::fill(storage_.elements().begin(), storage_.elements().end(), around);
  }

  /// Values depend on the place in the tensor's memory, so broadcast elements agree.
  void fill(Values values) {
    placement_.for_each([&](Index at) { storage_.data()[at] = values(at - placement_.offset); });
  }

  Extents<Rank> extents_;
  Extents<Rank> strides_;
  Placement placement_;
  Tensor<float, 1> storage_;
};

/// A copy of a host array in a backend's memory.
template <std::size_t Rank>
class DeviceArray {
 public:
  DeviceArray() = default;

  template <Backend B>
  DeviceArray(B& backend, const HostArray<Rank>& host)
      : buffer_(backend.allocate(static_cast<std::size_t>(host.placement().total) * sizeof(float))),
        storage_(static_cast<float*>(buffer_.data()), {host.placement().total}, backend.space()),
        view_(host.view_in(storage_.data(), backend.space())) {
    backend.upload(host.storage(), storage_);
  }

  /// Empty if there is no array.
  TensorView<float, Rank> view() const { return view_; }
  TensorView<float, 1> storage() const { return storage_; }

 private:
  Buffer buffer_;
  TensorView<float, 1> storage_;
  TensorView<float, Rank> view_;
};

/// A read-only operand in a backend's memory.
template <Backend B, std::size_t Rank>
DeviceArray<Rank> make_input(B& backend, const Extents<Rank>& extents, const Form<Rank>& form,
                             Values values, Position position) {
  return DeviceArray<Rank>(backend, HostArray<Rank>::input(extents, form, values, position));
}

}  // namespace promiseg::conformance
