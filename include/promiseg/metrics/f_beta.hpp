// The F-measure that counts precision more than recall.
#pragma once

#include "promiseg/metrics/mask_counts.hpp"

namespace promiseg::metrics {

/// beta squared, after Achanta et al. ("Frequency-tuned salient region detection", CVPR 2009).
inline constexpr double kBetaSquared = 0.3;

/// (1 + b) P R / (b P + R) of precision P and recall R, with b = 0.3, from 0 to 1. Written in
/// pixels, it needs no case for P = R = 0. Both masks empty: 1; one empty: 0.
inline double f_beta(const MaskCounts& counts) {
  if (counts.both_empty()) return 1.0;
  const double found = (1.0 + kBetaSquared) * static_cast<double>(counts.true_positive);
  return found / (found + kBetaSquared * static_cast<double>(counts.false_negative) +
                  static_cast<double>(counts.false_positive));
}

/// Of two masks [H, W]. Throws what `count_pixels` throws.
inline double f_beta(MaskView truth, MaskView prediction) {
  return f_beta(count_pixels(truth, prediction));
}

}  // namespace promiseg::metrics
