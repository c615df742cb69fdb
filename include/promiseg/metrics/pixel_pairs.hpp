// What every metric needs: a pair of images of one size, checked, and a walk over its pixels.
#pragma once

#include <cstdint>
#include <limits>

#include "promiseg/core/tensor.hpp"

namespace promiseg::metrics {

/// [H, W], any strides; a value other than 0 is object.
using MaskView = TensorView<const std::uint8_t, 2>;

/// [H, W], any strides; how sure a prediction is that a pixel is object, from 0 to 1.
using MapView = TensorView<const double, 2>;

namespace detail {

/// The published codes add it to denominators: the distance from 1 to the next double.
inline constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

/// Throws `shape_mismatch` unless both have the same extents and at least one pixel.
template <class T>
void require_pair(MaskView truth, TensorView<const T, 2> prediction) {
  require(!truth.empty(), ErrorCode::shape_mismatch,
          "truth: expected [height, width] with at least one pixel, got ",
          shape_text(truth.extents()));
  require_shape(prediction, truth.extents(), "prediction");
}

/// Calls `body(is_object, value)` for all pixels of a pair, row by row.
template <class T, class Body>
void for_each_pixel(MaskView truth, TensorView<const T, 2> prediction, const Body& body) {
  for (Index y = 0; y < truth.extent(0); ++y) {
    for (Index x = 0; x < truth.extent(1); ++x) body(truth(y, x) != 0, prediction(y, x));
  }
}

/// As `require_pair`; throws `invalid_argument` for a value outside [0, 1] or NaN.
inline void require_map(MaskView truth, MapView map) {
  require_pair(truth, map);
  for_each_pixel(truth, map, [](bool /*is_object*/, double value) {
    require(value >= 0.0 && value <= 1.0, ErrorCode::invalid_argument,
            "prediction: expected values from 0 to 1, got ", value);
  });
}

/// Pixels of the object.
inline Index area_of(MaskView mask) {
  Index area = 0;
  for (Index y = 0; y < mask.extent(0); ++y) {
    for (Index x = 0; x < mask.extent(1); ++x) area += mask(y, x) != 0 ? 1 : 0;
  }
  return area;
}

/// The mean of a map with pixels. Summed from the first value on, so that the mean of a constant
/// is that constant, without rounding.
inline double mean_of(MapView map) {
  const double first = map(0, 0);
  double sum = 0.0;
  for (Index y = 0; y < map.extent(0); ++y) {
    for (Index x = 0; x < map.extent(1); ++x) sum += map(y, x) - first;
  }
  return first + sum / static_cast<double>(map.size());
}

}  // namespace detail

/// A mask as a map: 1 in the object, 0 elsewhere.
inline Tensor<double, 2> to_map(MaskView mask) {
  Tensor<double, 2> result(mask.extents());
  const TensorView<double, 2> map = result.view();
  for (Index y = 0; y < mask.extent(0); ++y) {
    for (Index x = 0; x < mask.extent(1); ++x) map(y, x) = mask(y, x) != 0 ? 1.0 : 0.0;
  }
  return result;
}

}  // namespace promiseg::metrics
