// Intersection over union of two masks.
#pragma once

#include "promiseg/metrics/mask_counts.hpp"

namespace promiseg::metrics {

/// TP / (TP + FP + FN), from 0 to 1: the area in common over the area of either. The same if truth
/// and prediction change places; equals d / (2 - d) of Dice's d. Both masks empty: 1; one empty: 0.
/// (Jaccard 1912.)
inline double iou(const MaskCounts& counts) {
  return detail::share(counts.true_positive, counts.truth_area() + counts.false_positive, counts);
}

/// Of two masks [H, W]. Throws what `count_pixels` throws.
inline double iou(MaskView truth, MaskView prediction) {
  return iou(count_pixels(truth, prediction));
}

}  // namespace promiseg::metrics
