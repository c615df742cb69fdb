// The number format of matrix products' inputs.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "promiseg/core/error.hpp"

namespace promiseg {

/// What the factors of matrix products are rounded to: weight matrices and what they multiply, and
/// both sides of attention. Sums, biases, norms, depth-wise convolutions, softmax and everything
/// between layers are float32 in both. A backend may round sums of a 3x3 convolution's factors in
/// their place.
enum class Precision { fp32, bf16 };

inline constexpr std::array<std::string_view, 2> kPrecisionNames = {"fp32", "bf16"};

inline std::string_view to_string(Precision precision) {
  return kPrecisionNames[static_cast<std::size_t>(precision)];
}

/// The precision of a name in `kPrecisionNames`. Throws `invalid_argument`.
inline Precision parse_precision(std::string_view name) {
  for (std::size_t i = 0; i < kPrecisionNames.size(); ++i) {
    if (kPrecisionNames[i] == name) return static_cast<Precision>(i);
  }
  fail(ErrorCode::invalid_argument, "precision: expected fp32 or bf16, got \"", name, "\"");
}

}  // namespace promiseg
