// Sums of neighbouring pixels with whole-numbered weights: the same bits on every machine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "promiseg/core/image.hpp"
#include "promiseg/train/augmentation/border.hpp"

namespace promiseg::detail {

/// The nearest value that fits in 8 bits.
inline std::uint8_t saturate(std::int64_t value) {
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(value, 0, 255));
}

/// A neighbour, as steps from the pixel, and what it counts.
struct FilterTap {
  Index dy = 0;
  Index dx = 0;
  std::int32_t weight = 1;
};

/// Every sample becomes the weighted sum of its taps, divided by `unit` and rounded; `unit` is the
/// sum of the weights where brightness shall stay. The weights' magnitudes sum to less than 2^22.
inline Image filter(ImageView image, std::span<const FilterTap> taps, std::int32_t unit) {
  Index margin = 0;
  for (const FilterTap& tap : taps) margin = std::max({margin, std::abs(tap.dy), std::abs(tap.dx)});
  const Image padded = reflect_padded(image, margin);
  const Index channels = image.extent(2);
  const Index row_size = image.extent(1) * channels;
  const Index pitch = padded.extent(1) * channels;

  Image result(image.extents());
  std::vector<std::int32_t> sums(static_cast<std::size_t>(row_size));
  for (Index y = 0; y < image.extent(0); ++y) {
    std::fill(sums.begin(), sums.end(), unit / 2);  // division drops the fraction
    for (const FilterTap& tap : taps) {
      const std::uint8_t* from =
          padded.data() + (y + margin + tap.dy) * pitch + (margin + tap.dx) * channels;
      for (std::int32_t& sum : sums) sum += tap.weight * *from++;
    }
    std::uint8_t* to = result.data() + y * row_size;
    for (const std::int32_t sum : sums) *to++ = saturate(sum / unit);
  }
  return result;
}

}  // namespace promiseg::detail
