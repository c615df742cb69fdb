// The four numbers that most metrics of a mask are made of.
#pragma once

#include <cstdint>

#include "promiseg/metrics/pixel_pairs.hpp"

namespace promiseg::metrics {

/// Pixels of a truth and a prediction, by what the two say of them.
struct MaskCounts {
  Index true_positive = 0;   ///< object in both
  Index false_positive = 0;  ///< object in the prediction alone
  Index false_negative = 0;  ///< object in the truth alone
  Index true_negative = 0;   ///< object in neither

  Index truth_area() const { return true_positive + false_negative; }
  Index predicted_area() const { return true_positive + false_positive; }
  Index pixels() const { return truth_area() + false_positive + true_negative; }
  bool both_empty() const { return truth_area() == 0 && predicted_area() == 0; }

  /// Enters one pixel.
  void add(bool in_truth, bool in_prediction) {
    if (in_truth) {
      ++(in_prediction ? true_positive : false_negative);
    } else {
      ++(in_prediction ? false_positive : true_negative);
    }
  }

  friend bool operator==(const MaskCounts&, const MaskCounts&) = default;
};

/// Counts the pixels of two masks [H, W]. Throws `shape_mismatch` if the shapes differ or there are
/// no pixels.
inline MaskCounts count_pixels(MaskView truth, MaskView prediction) {
  detail::require_pair(truth, prediction);
  MaskCounts counts;
  detail::for_each_pixel(truth, prediction, [&](bool in_truth, std::uint8_t predicted) {
    counts.add(in_truth, predicted != 0);
  });
  return counts;
}

namespace detail {

/// part / whole. Where the whole has no pixels, the rule of this library: two empty masks agree,
/// which is 1; if only one of them is empty, nothing was found, which is 0.
inline double share(Index part, Index whole, const MaskCounts& counts) {
  if (whole == 0) return counts.both_empty() ? 1.0 : 0.0;
  return static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace detail

}  // namespace promiseg::metrics
