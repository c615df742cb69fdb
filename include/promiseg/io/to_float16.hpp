// float32 values as the bits of half-precision ones.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "promiseg/core/dtype.hpp"
#include "promiseg/core/error.hpp"

namespace promiseg {

/// Rounded to nearest. Throws `unsupported`, naming `what`, for a value that is not finite or whose
/// magnitude is above 65504, the largest half-precision number.
inline std::vector<std::uint16_t> to_float16(std::string_view what, std::span<const float> values) {
  constexpr float kLargestHalf = 65504.0F;
  std::vector<std::uint16_t> bits;
  bits.reserve(values.size());
  for (float value : values) {
    require(std::abs(value) <= kLargestHalf, ErrorCode::unsupported, what, ": ", value,
            " cannot be kept at half precision");
    bits.push_back(float_to_half(value));
  }
  return bits;
}

}  // namespace promiseg
