#include "promiseg/core/dtype.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

using namespace promiseg;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

/// Value of binary16 bits by the definition of the format.
double half_by_definition(std::uint16_t half) {
  const int exponent = (half >> 10) & 0x1F;
  const int fraction = half & 0x3FF;
  const double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

}  // namespace

TEST_CASE("dtype: names and sizes") {
  const std::array<DType, 10> all{DType::f32, DType::f16, DType::bf16, DType::f64, DType::i64,
                                  DType::i32, DType::i16, DType::i8,   DType::u8,  DType::boolean};
  const std::array<std::string_view, 10> names{"F32", "F16", "BF16", "F64", "I64",
                                               "I32", "I16", "I8",   "U8",  "BOOL"};
  const std::array<std::size_t, 10> sizes{4, 2, 2, 8, 8, 4, 2, 1, 1, 1};
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(to_string(all[i]) == names[i]);
    CHECK(size_of(all[i]) == sizes[i]);
    CHECK(dtype_from_string(names[i]) == all[i]);
  }
  CHECK_FALSE(dtype_from_string("f32").has_value());
  CHECK_FALSE(dtype_from_string("F8_E4M3").has_value());
  CHECK_FALSE(dtype_from_string("").has_value());
  CHECK_THROWS_AS(size_of(static_cast<DType>(99)), Error);
  CHECK_THROWS_AS(to_string(static_cast<DType>(99)), Error);
}

TEST_CASE("dtype: C++ types") {
  CHECK(dtype_of<float> == DType::f32);
  CHECK(dtype_of<double> == DType::f64);
  CHECK(dtype_of<std::int64_t> == DType::i64);
  CHECK(dtype_of<std::int32_t> == DType::i32);
  CHECK(dtype_of<std::int16_t> == DType::i16);
  CHECK(dtype_of<std::int8_t> == DType::i8);
  CHECK(dtype_of<std::uint8_t> == DType::u8);
  CHECK(dtype_of<bool> == DType::boolean);
}

TEST_CASE("dtype: every half becomes its float and comes back") {
  int wrong = 0;
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const auto half = static_cast<std::uint16_t>(i);
    const float value = half_to_float(half);
    if ((half & 0x7FFF) > 0x7C00) {
      const std::uint16_t back = float_to_half(value);
      if (!std::isnan(value) || (back & 0x7FFF) <= 0x7C00 || (back & 0x8000) != (half & 0x8000)) {
        ++wrong;
      }
      continue;
    }
    const double expected = (half & 0x7FFF) == 0x7C00
                                ? ((half & 0x8000) != 0 ? -kInfinity : kInfinity)
                                : half_by_definition(half);
    if (static_cast<double>(value) != expected || std::signbit(value) != ((half & 0x8000) != 0) ||
        float_to_half(value) != half) {
      ++wrong;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("dtype: floats round to the nearest half, ties to even") {
  int wrong = 0;
  for (std::uint16_t half = 0; half < 0x7BFF; ++half) {
    const auto next = static_cast<std::uint16_t>(half + 1);
    const float middle = (half_to_float(half) + half_to_float(next)) / 2;
    const float below = std::nextafter(middle, 0.0f);
    const float above = std::nextafter(middle, kInfinity);
    const std::uint16_t even = (half & 1) == 0 ? half : next;
    if (float_to_half(middle) != even || float_to_half(below) != half ||
        float_to_half(above) != next || float_to_half(-middle) != (even | 0x8000)) {
      ++wrong;
    }
  }
  CHECK(wrong == 0);
  CHECK(float_to_half(65504.0f) == 0x7BFF);
  CHECK(float_to_half(std::nextafter(65520.0f, 0.0f)) == 0x7BFF);
  CHECK(float_to_half(65520.0f) == 0x7C00);
  CHECK(float_to_half(-1e30f) == 0xFC00);
  CHECK(float_to_half(kInfinity) == 0x7C00);
  CHECK(float_to_half(std::numeric_limits<float>::denorm_min()) == 0);
}

TEST_CASE("dtype: bfloat16") {
  int wrong = 0;
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const float value = bfloat16_to_float(bits);
    if (bits_of(value) != i << 16) ++wrong;
    if (std::isnan(value) ? !std::isnan(bfloat16_to_float(float_to_bfloat16(value)))
                          : float_to_bfloat16(value) != bits) {
      ++wrong;
    }
  }
  CHECK(wrong == 0);
  CHECK(float_to_bfloat16(std::bit_cast<float>(0x3F808000u)) == 0x3F80);  // tie, even below
  CHECK(float_to_bfloat16(std::bit_cast<float>(0x3F818000u)) == 0x3F82);  // tie, even above
  CHECK(float_to_bfloat16(std::bit_cast<float>(0x3F808001u)) == 0x3F81);
  CHECK(float_to_bfloat16(std::numeric_limits<float>::max()) == 0x7F80);
  // A NaN whose payload lies in the lower half must not become infinity.
  CHECK(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0x7F800001u)))));
}
