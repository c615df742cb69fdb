// Mean absolute error.
#pragma once

#include <cmath>

#include "promiseg/metrics/mask_counts.hpp"

namespace promiseg::metrics {

/// (FP + FN) / pixels, from 0 (best) to 1: the part of the pixels that is wrong. Two empty masks
/// are equal, so 0. (Perazzi et al., "Saliency filters", CVPR 2012.)
inline double mae(const MaskCounts& counts) {
  return static_cast<double>(counts.false_positive + counts.false_negative) /
         static_cast<double>(counts.pixels());
}

/// Of two masks [H, W]. Throws what `count_pixels` throws.
inline double mae(MaskView truth, MaskView prediction) {
  return mae(count_pixels(truth, prediction));
}

/// The mean of |map - truth| over the pixels, truth 0 or 1; both [H, W]. Throws `shape_mismatch` if
/// the shapes differ or there are no pixels, `invalid_argument` for a value of the map outside
/// [0, 1].
inline double mae(MaskView truth, MapView map) {
  detail::require_map(truth, map);
  double sum = 0.0;
  detail::for_each_pixel(truth, map, [&](bool is_object, double value) {
    sum += std::abs(value - (is_object ? 1.0 : 0.0));
  });
  return sum / static_cast<double>(truth.size());
}

}  // namespace promiseg::metrics
