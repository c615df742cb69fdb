// Separable interpolation between two neighbours per axis: the engine of the linear rules.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "promiseg/sam/resize_detail.hpp"

namespace promiseg::detail {

/// Numbers and arithmetic for each pixel type.
template <class T>
struct LinearArithmetic;

template <>
struct LinearArithmetic<float> {
  using Weight = float;
  using Sum = float;

  static float blend(float upper, float lower, float upper_weight, float lower_weight) {
    return upper * upper_weight + lower * lower_weight;
  }
};

/// OpenCV's 8-bit arithmetic: 11-bit weights; the vertical step drops low bits before adding.
template <>
struct LinearArithmetic<std::uint8_t> {
  using Weight = std::int32_t;
  using Sum = std::int32_t;

  static std::uint8_t blend(Sum upper, Sum lower, Weight upper_weight, Weight lower_weight) {
    const Sum sum = ((upper_weight * (upper >> 4)) >> 16) + ((lower_weight * (lower >> 4)) >> 16);
    return static_cast<std::uint8_t>(std::clamp((sum + 2) >> 2, 0, 255));
  }
};

/// The two input positions of one output position. `second` is `first` or `first + 1`.
template <class Weight>
struct LinearTap {
  Index first;
  Index second;
  Weight first_weight;
  Weight second_weight;
};

template <class T>
using LinearTaps = std::vector<LinearTap<typename LinearArithmetic<T>::Weight>>;

template <class T, class Channels>
void interpolate_row(const T* in, const LinearTaps<T>& taps, Channels channels,
                     typename LinearArithmetic<T>::Sum* out) {
  const Index step = channels;
  for (const auto& tap : taps) {
    const T* first = in + tap.first * step;
    const T* second = in + tap.second * step;
    for (Index c = 0; c < step; ++c) {
      *out++ = first[c] * tap.first_weight + second[c] * tap.second_weight;
    }
  }
}

/// Interpolates `in` into `out` (both `[height, width, channels]`, any strides, no overlap): along
/// each input row once, then between two such rows. `rows` and `columns` have one tap per output
/// row and column, their positions non-decreasing.
template <class T>
void interpolate(const TensorView<const T, 3>& in, const LinearTaps<T>& rows,
                 const LinearTaps<T>& columns, const TensorView<T, 3>& out) {
  using Arithmetic = LinearArithmetic<T>;
  using Sum = typename Arithmetic::Sum;
  const Index channels = in.extent(2);
  const Index row_size = out.extent(1) * channels;
  PackedRows<T> source(in);
  auto unpacked = make_row<T>(has_packed_rows(out) ? 0 : row_size);

  // Neighbouring input rows differ in parity, so each has a slot of its own.
  std::array<std::vector<Sum>, 2> slots{make_row<Sum>(row_size), make_row<Sum>(row_size)};
  std::array<Index, 2> held{-1, -1};
  const auto interpolated = [&](Index y) -> const Sum* {
    const auto slot = static_cast<std::size_t>(y % 2);
    if (held[slot] != y) {
      const T* row = source.row(y);
      with_channels(channels, [&](auto count) {
        interpolate_row<T>(row, columns, count, slots[slot].data());
      });
      held[slot] = y;
    }
    return slots[slot].data();
  };

  for (Index y = 0; y < out.extent(0); ++y) {
    const auto& tap = rows[static_cast<std::size_t>(y)];
    const Sum* upper = interpolated(tap.first);
    const Sum* lower = interpolated(tap.second);
    T* to = out.data() + y * out.stride(0);
    T* row = unpacked.empty() ? to : unpacked.data();
    for (Index i = 0; i < row_size; ++i) {
      row[i] = Arithmetic::blend(upper[i], lower[i], tap.first_weight, tap.second_weight);
    }
    if (unpacked.empty()) continue;
    for (Index x = 0; x < out.extent(1); ++x) {
      for (Index c = 0; c < channels; ++c) {
        to[x * out.stride(1) + c * out.stride(2)] = *row++;
      }
    }
  }
}

}  // namespace promiseg::detail
