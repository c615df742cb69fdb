// Comparing results with recorded outputs of the original code.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>

#include "promiseg/core/image.hpp"
#include "promiseg/core/tensor_view.hpp"

namespace promiseg_test {

using promiseg::Extents;
using promiseg::Index;
using promiseg::TensorView;

/// Bounds on a difference, in fp32. docs/numerics.md holds the same table.
struct Tolerance {
  double relative;  ///< L2 norm of the difference over the L2 norm of the reference
  double largest;   ///< largest absolute difference over the largest absolute reference value
};

inline constexpr Tolerance kEncoderStage{5e-6, 1e-5};       ///< every stage of a ViT, small sizes
inline constexpr Tolerance kLargeEncoderStage{1e-5, 2e-5};  ///< ViT-B and ViT-L
inline constexpr Tolerance kTinyVitStage{1e-5, 2e-5};       ///< LiteMedSAM's encoder
inline constexpr Tolerance kPromptEncoding{1e-6, 1e-5};     ///< sparse and dense prompts, dense PE
inline constexpr Tolerance kMaskLogits{5e-5, 1e-4};         ///< low-res logits, and enlarged ones
inline constexpr double kIouAbsolute = 3e-5;                ///< predicted IoU
inline constexpr Tolerance kTokenShift{5e-6, 1e-5};         ///< IPS
inline constexpr double kPointsAbsolute = 2e-3;             ///< APM's points, pixels of 1024
inline constexpr double kFlippedPixels = 1e-4;              ///< part of a mask's pixels

/// At bf16, as close to the original in fp32 as PyTorch's own bf16 is (recorded for a small SAM
/// with random weights and for LiteMedSAM); the second number is not bounded there.
inline constexpr Tolerance kBfloat16Embedding{1.2e-2, 1.0};
inline constexpr Tolerance kBfloat16Logits{5.5e-2, 1.0};
inline constexpr Tolerance kBfloat16TinyVit{5.8e-2, 1.0};
inline constexpr double kBfloat16BoxIou = 0.98;  ///< of a mask from a box with the recorded one

/// How far a result lies from its reference.
struct Difference {
  double relative = 0;  ///< as in `Tolerance`
  double largest = 0;   ///< as in `Tolerance`
  double absolute = 0;  ///< the largest absolute difference
};

/// Calls `body(a element, b element)` for all elements of two views of one shape.
template <class A, class B, std::size_t Rank, class Body>
void for_each_pair(TensorView<A, Rank> a, TensorView<B, Rank> b, const Body& body) {
  for (Index i = 0; i < a.extent(0); ++i) {
    if constexpr (Rank == 1) {
      body(a(i), b(i));
    } else {
      for_each_pair(a.select(0, i), b.select(0, i), body);
    }
  }
}

/// NaN in `got` makes every member NaN or infinite, so that no bound holds.
template <std::size_t Rank>
Difference difference(TensorView<const float, Rank> got, TensorView<const float, Rank> expected) {
  double difference_squares = 0;
  double reference_squares = 0;
  double reference_largest = 0;
  Difference result;
  for_each_pair(got, expected, [&](float value, float reference) {
    const double apart = std::isfinite(value) ? std::abs(double{value} - double{reference})
                                              : std::numeric_limits<double>::infinity();
    result.absolute = std::max(result.absolute, apart);
    difference_squares += apart * apart;
    reference_squares += double{reference} * double{reference};
    reference_largest = std::max(reference_largest, std::abs(double{reference}));
  });
  if (result.absolute > 0) {
    result.relative = std::sqrt(difference_squares / reference_squares);
    result.largest = result.absolute / reference_largest;
  }
  return result;
}

template <std::size_t Rank>
void require_same_shape(const Extents<Rank>& got, const Extents<Rank>& expected) {
  REQUIRE_MESSAGE(got == expected, "expected shape ", promiseg::shape_text(expected), ", got ",
                  promiseg::shape_text(got));
}

/// Checks a result, and prints what was measured.
template <std::size_t Rank>
void check_close(const std::string& what, TensorView<const float, Rank> got,
                 TensorView<const float, Rank> expected, const Tolerance& tolerance) {
  CAPTURE(what);
  require_same_shape(got.extents(), expected.extents());
  const Difference apart = difference(got, expected);
  std::printf("%-48s relative %.1e (<= %.0e)  largest %.1e (<= %.0e)\n", what.c_str(),
              apart.relative, tolerance.relative, apart.largest, tolerance.largest);
  CHECK(apart.relative <= tolerance.relative);
  CHECK(apart.largest <= tolerance.largest);
}

/// As `check_close`, with a bound on the absolute difference of every element.
template <std::size_t Rank>
void check_within(const std::string& what, TensorView<const float, Rank> got,
                  TensorView<const float, Rank> expected, double tolerance) {
  CAPTURE(what);
  require_same_shape(got.extents(), expected.extents());
  const Difference apart = difference(got, expected);
  std::printf("%-48s absolute %.1e (<= %.0e)\n", what.c_str(), apart.absolute, tolerance);
  CHECK(apart.absolute <= tolerance);
}

/// Pixels that are inside in one mask and outside in the other.
template <class A, class B>
Index flipped_pixels(TensorView<A, 2> a, TensorView<B, 2> b) {
  Index flipped = 0;
  for_each_pair(a, b, [&](int x, int y) { flipped += (x != 0) != (y != 0) ? 1 : 0; });
  return flipped;
}

/// Intersection over union of two masks.
template <class A, class B>
double overlap(TensorView<A, 2> a, TensorView<B, 2> b) {
  Index both = 0;
  Index either = 0;
  for_each_pair(a, b, [&](int x, int y) {
    both += x != 0 && y != 0 ? 1 : 0;
    either += x != 0 || y != 0 ? 1 : 0;
  });
  return static_cast<double>(both) / static_cast<double>(either);
}

/// Checks a mask against a recorded one of 0 and 1, and prints what was measured.
inline void check_mask(const std::string& what, TensorView<const std::uint8_t, 2> got,
                       TensorView<const std::uint8_t, 2> expected) {
  CAPTURE(what);
  require_same_shape(got.extents(), expected.extents());
  const double part =
      static_cast<double>(flipped_pixels(got, expected)) / static_cast<double>(got.size());
  std::printf("%-48s flipped pixels %.2e (<= %.0e)\n", what.c_str(), part, kFlippedPixels);
  CHECK(part <= kFlippedPixels);
}

/// Every `steps[axis]`-th element along each axis, as the fixtures' `[::n]`.
template <class T, std::size_t Rank>
TensorView<T, Rank> every(const Extents<Rank>& steps, TensorView<T, Rank> view) {
  Extents<Rank> extents = view.extents();
  Extents<Rank> strides = view.strides();
  for (std::size_t axis = 0; axis < Rank; ++axis) {
    extents[axis] = (extents[axis] + steps[axis] - 1) / steps[axis];
    strides[axis] *= steps[axis];
  }
  return {view.data(), extents, strides};
}

/// [h, w, C] as the original's [1, C, h, w].
template <class T>
TensorView<T, 4> channels_first(TensorView<T, 3> image) {
  return image.permuted({2, 0, 1}).with_unit_axis(0);
}

}  // namespace promiseg_test
