// Changes of an image's values that move nothing: brightness, contrast, sharpness, noise.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "promiseg/core/image.hpp"
#include "promiseg/core/random.hpp"
#include "promiseg/train/augmentation/filter.hpp"

namespace promiseg {

struct BrightnessContrast {
  double gain = 1.0;    ///< multiplies values
  double offset = 0.0;  ///< added to them, as a part of white
};

inline Image adjust(ImageView image, const BrightnessContrast& change) {
  std::array<std::uint8_t, 256> table{};
  for (std::size_t value = 0; value < table.size(); ++value) {
    const double changed = change.gain * static_cast<double>(value) + 255.0 * change.offset;
    table[value] = detail::saturate(std::llround(changed));
  }
  Image result(image);
  for (std::uint8_t& sample : result.elements()) sample = table[sample];
  return result;
}

/// Adds to every sample `amount` times its difference from each of its eight neighbours.
inline Image sharpen(ImageView image, double amount) {
  require(amount >= 0.0 && amount <= 1.0, ErrorCode::invalid_argument,
          "sharpen: expected an amount of 0 to 1, got ", amount);
  constexpr std::int32_t kUnit = 1024;
  const auto weight = static_cast<std::int32_t>(std::lround(amount * kUnit));
  std::vector<detail::FilterTap> taps;
  for (Index dy = -1; dy <= 1; ++dy) {
    for (Index dx = -1; dx <= 1; ++dx) {
      const bool centre = dy == 0 && dx == 0;
      taps.push_back({dy, dx, centre ? kUnit + 8 * weight : -weight});
    }
  }
  return detail::filter(image, taps, kUnit);
}

/// Adds normal noise, independent for every sample. `deviation` is in the samples' own unit; the
/// seed decides all of it.
inline Image add_noise(ImageView image, double deviation, std::uint64_t seed) {
  Random random(seed);
  Image result(image);
  for (std::uint8_t& sample : result.elements()) {
    sample = detail::saturate(sample + std::llround(deviation * random.normal()));
  }
  return result;
}

}  // namespace promiseg
