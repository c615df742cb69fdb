// Precision and recall of a mask.
#pragma once

#include "promiseg/metrics/mask_counts.hpp"

namespace promiseg::metrics {

/// TP / (TP + FP), from 0 to 1: how much of what was predicted is object. Both masks empty: 1; one
/// empty: 0, also where that is the prediction.
inline double precision(const MaskCounts& counts) {
  return detail::share(counts.true_positive, counts.predicted_area(), counts);
}

/// Of two masks [H, W]. Throws what `count_pixels` throws.
inline double precision(MaskView truth, MaskView prediction) {
  return precision(count_pixels(truth, prediction));
}

/// TP / (TP + FN), from 0 to 1: how much of the object was predicted. Both masks empty: 1; one
/// empty: 0, also where that is the truth.
inline double recall(const MaskCounts& counts) {
  return detail::share(counts.true_positive, counts.truth_area(), counts);
}

/// Of two masks [H, W]. Throws what `count_pixels` throws.
inline double recall(MaskView truth, MaskView prediction) {
  return recall(count_pixels(truth, prediction));
}

}  // namespace promiseg::metrics
