// Floating-point bytes of any width as float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "promiseg/core/dtype.hpp"
#include "promiseg/core/error.hpp"

namespace promiseg {

/// Little-endian floating-point elements (F32, F16, BF16 or F64) as float32; F64 is rounded to
/// nearest. Throws `unsupported` for integers and booleans, `invalid_argument` for a partial
/// element.
inline std::vector<float> to_float32(DType dtype, std::span<const std::byte> bytes) {
  const std::size_t width = size_of(dtype);
  require(bytes.size() % width == 0, ErrorCode::invalid_argument, bytes.size(),
          " bytes are no whole number of ", to_string(dtype), " elements");
  std::vector<float> values(bytes.size() / width);
  const auto convert = [&]<class Stored>(Stored stored, auto to_float) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
      values[i] = to_float(stored);
    }
  };
  switch (dtype) {
    case DType::f32:
      convert(float{}, [](float value) { return value; });
      break;
    case DType::f16:
      convert(std::uint16_t{}, half_to_float);
      break;
    case DType::bf16:
      convert(std::uint16_t{}, bfloat16_to_float);
      break;
    case DType::f64:
      convert(double{}, [](double value) { return static_cast<float>(value); });
      break;
    default:
      fail(ErrorCode::unsupported, "expected floating-point elements, got ", to_string(dtype));
  }
  return values;
}

}  // namespace promiseg
