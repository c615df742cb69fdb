// Dice's coefficient of two masks.
#pragma once

#include "promiseg/metrics/mask_counts.hpp"

namespace promiseg::metrics {

/// 2 TP / (2 TP + FP + FN), from 0 to 1: the area in common over the mean area. The same if truth
/// and prediction change places. Both masks empty: 1; one empty: 0. (Dice 1945.)
inline double dice(const MaskCounts& counts) {
  const Index both = 2 * counts.true_positive;
  return detail::share(both, both + counts.false_positive + counts.false_negative, counts);
}

/// Of two masks [H, W]. Throws what `count_pixels` throws.
inline double dice(MaskView truth, MaskView prediction) {
  return dice(count_pixels(truth, prediction));
}

}  // namespace promiseg::metrics
