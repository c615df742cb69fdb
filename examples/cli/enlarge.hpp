// Smooth enlargement of an image by a whole number.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "promiseg/core/image.hpp"

namespace promiseg::cli {
namespace detail {

/// Four neighbours of an output sample, from `first` on, with weights that add up to `kOne`.
struct CubicTap {
  static constexpr int kBits = 14;
  static constexpr std::int32_t kOne = 1 << kBits;

  Index first = 0;
  std::array<std::int32_t, 4> weight{};
};

/// The taps of one source pixel's `scale` output samples, relative to that pixel. Catmull-Rom
/// (cubic convolution with a = -1/2) in whole numbers, so that every machine draws the same.
inline std::vector<CubicTap> cubic_taps(Index scale) {
  std::vector<CubicTap> taps;
  for (Index phase = 0; phase < scale; ++phase) {
    const double at = (static_cast<double>(phase) + 0.5) / static_cast<double>(scale) - 0.5;
    const double base = std::floor(at);
    const double t = at - base;
    const std::array<double, 4> exact{((2 - t) * t - 1) * t / 2, ((3 * t - 5) * t * t + 2) / 2,
                                      ((4 - 3 * t) * t + 1) * t / 2, (t - 1) * t * t / 2};
    CubicTap tap{static_cast<Index>(base) - 1, {}};
    std::int32_t rest = CubicTap::kOne;
    for (std::size_t i = 0; i < 4; ++i) {
      tap.weight[i] = static_cast<std::int32_t>(std::lround(exact[i] * CubicTap::kOne));
      rest -= tap.weight[i];
    }
    tap.weight[t < 0.5 ? 1 : 2] += rest;
    taps.push_back(tap);
  }
  return taps;
}

}  // namespace detail

/// `[height, width, C]` -> `[height*scale, width*scale, C]` by Catmull-Rom interpolation in whole
/// numbers, so the same on every machine; the edge pixels repeat outwards. `scale` is at least 1.
inline Image enlarge(ImageView image, Index scale) {
  if (scale == 1) return Image(image);
  const Index height = image.extent(0);
  const Index width = image.extent(1);
  const Index channels = image.extent(2);
  const std::vector<detail::CubicTap> taps = detail::cubic_taps(scale);
  constexpr int kKept = 8;  // fraction bits between the two passes

  Tensor<std::int32_t, 3> wide({height, width * scale, channels});
  std::int32_t* to = wide.data();
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width * scale; ++x) {
      const detail::CubicTap& tap = taps[static_cast<std::size_t>(x % scale)];
      const Index first = x / scale + tap.first;
      for (Index c = 0; c < channels; ++c) {
        std::int32_t sum = 1 << (detail::CubicTap::kBits - kKept - 1);
        for (Index i = 0; i < 4; ++i) {
          sum += tap.weight[static_cast<std::size_t>(i)] *
                 image(y, std::clamp<Index>(first + i, 0, width - 1), c);
        }
        *to++ = sum >> (detail::CubicTap::kBits - kKept);
      }
    }
  }

  Image result({height * scale, width * scale, channels});
  const Index row_size = width * scale * channels;
  std::uint8_t* out = result.data();
  for (Index y = 0; y < height * scale; ++y) {
    const detail::CubicTap& tap = taps[static_cast<std::size_t>(y % scale)];
    std::array<const std::int32_t*, 4> rows{};
    for (Index i = 0; i < 4; ++i) {
      const Index from = std::clamp<Index>(y / scale + tap.first + i, 0, height - 1);
      rows[static_cast<std::size_t>(i)] = wide.data() + from * row_size;
    }
    for (Index x = 0; x < row_size; ++x) {
      std::int64_t sum = std::int64_t{1} << (detail::CubicTap::kBits + kKept - 1);
      for (std::size_t i = 0; i < 4; ++i) sum += std::int64_t{tap.weight[i]} * rows[i][x];
      *out++ = static_cast<std::uint8_t>(
          std::clamp<std::int64_t>(sum >> (detail::CubicTap::kBits + kKept), 0, 255));
    }
  }
  return result;
}

}  // namespace promiseg::cli
