// Element types of stored tensors, and the 16-bit floating-point formats.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "promiseg/core/error.hpp"

namespace promiseg {

/// Element type of a stored tensor.
enum class DType { f32, f16, bf16, f64, i64, i32, i16, i8, u8, boolean };

/// Bytes per element. Throws `invalid_argument` for a value outside the enumeration.
inline std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
    case DType::i16:
      return 2;
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  fail(ErrorCode::invalid_argument, "no element type has the number ", static_cast<int>(dtype));
}

/// The name safetensors files use: "F32", "BF16", "BOOL", ...
inline std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::f64:
      return "F64";
    case DType::i64:
      return "I64";
    case DType::i32:
      return "I32";
    case DType::i16:
      return "I16";
    case DType::i8:
      return "I8";
    case DType::u8:
      return "U8";
    case DType::boolean:
      return "BOOL";
  }
  fail(ErrorCode::invalid_argument, "no element type has the number ", static_cast<int>(dtype));
}

/// The type of that safetensors name; empty for a name this library does not know.
inline std::optional<DType> dtype_from_string(std::string_view name) {
  for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::f64, DType::i64, DType::i32,
                      DType::i16, DType::i8, DType::u8, DType::boolean}) {
    if (to_string(dtype) == name) return dtype;
  }
  return std::nullopt;
}

/// Tag of a C++ type: `dtype_of<float> == DType::f32`. Defined for the types listed below only.
template <class T>
inline constexpr DType dtype_of = [] {
  static_assert(sizeof(T) == 0, "this C++ type has no DType");
  return DType::f32;
}();
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::i64;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<std::int16_t> = DType::i16;
template <>
inline constexpr DType dtype_of<std::int8_t> = DType::i8;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::u8;
template <>
inline constexpr DType dtype_of<bool> = DType::boolean;

/// Value of IEEE binary16 bits. Exact, subnormal numbers, infinities and NaN included.
inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1Fu;
  const std::uint32_t fraction = half & 0x3FFu;
  if (exponent == 0) {
    // Zero and subnormals count units of 2^-24, which a float holds exactly.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide_exponent = exponent == 0x1F ? 0xFFu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (wide_exponent << 23) | (fraction << 13));
}

/// Value of bfloat16 bits, the upper half of a binary32. Exact.
inline float bfloat16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Nearest bfloat16, ties to even; a NaN stays a (quiet) NaN, overflow gives infinity.
inline std::uint16_t float_to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

/// Nearest IEEE binary16, ties to even; a NaN stays a (quiet) NaN, overflow gives infinity.
inline std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  std::uint32_t half = 0;
  if (magnitude > 0x7F800000u) {
    half = 0x7E00u | ((magnitude >> 13) & 0x3FFu);
  } else if (magnitude >= 0x477FF000u) {
    half = 0x7C00u;  // 65520 is halfway between the largest half and the next power of two
  } else if (magnitude >= 0x38800000u) {
    // A carry out of the fraction moves into the exponent, as it should.
    const std::uint32_t rebased = magnitude - ((127u - 15u) << 23);
    half = (rebased + 0xFFFu + ((rebased >> 13) & 1u)) >> 13;
  } else if (magnitude > 0x33000000u) {
    // Subnormal result: shift the full significand down to units of 2^-24.
    const std::uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u;
    const std::uint32_t shift = 126u - (magnitude >> 23);  // 14 .. 24
    const std::uint32_t remainder = significand & ((1u << shift) - 1u);
    const std::uint32_t tie = 1u << (shift - 1u);
    half = significand >> shift;
    if (remainder > tie || (remainder == tie && (half & 1u) != 0)) ++half;
  }
  return static_cast<std::uint16_t>(sign | half);
}

}  // namespace promiseg
