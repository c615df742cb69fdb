// The enhanced-alignment measure of Fan et al. ("Enhanced-alignment measure for binary foreground
// map evaluation", IJCAI 2018).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "promiseg/metrics/mask_counts.hpp"

namespace promiseg::metrics {

/// Both masks minus their means are a and b; a pixel scores ((2ab / (a^2 + b^2) + 1) / 2)^2, which
/// is 1 where the two deviate alike and 0 where they deviate oppositely. The result is the sum over
/// the pixels divided by their number less one, as published: a perfect mask scores N / (N - 1),
/// just above 1. From 0 up.
///
/// Truth empty: the sum is the number of pixels predicted as background. Truth everywhere: the
/// number predicted as object. So two empty masks score as a perfect one. Prediction empty or
/// everywhere, truth neither: N / (4 (N - 1)). A single pixel is divided by 1 and not by 0.
inline double e_measure(const MaskCounts& counts) {
  const auto pixels = static_cast<double>(counts.pixels());
  const double divisor = std::max(pixels - 1.0, 1.0);
  if (counts.truth_area() == 0) return static_cast<double>(counts.true_negative) / divisor;
  if (counts.truth_area() == counts.pixels()) {
    return static_cast<double>(counts.true_positive) / divisor;
  }
  const double truth_mean = static_cast<double>(counts.truth_area()) / pixels;
  const double predicted_mean = static_cast<double>(counts.predicted_area()) / pixels;
  // All pixels of one of the four kinds score alike.
  const auto score = [&](Index count, double in_truth, double in_prediction) {
    const double a = in_prediction - predicted_mean;
    const double b = in_truth - truth_mean;
    const double alignment = 2.0 * a * b / (a * a + b * b + detail::kEpsilon);
    return static_cast<double>(count) * (alignment + 1.0) * (alignment + 1.0) / 4.0;
  };
  const double sum = score(counts.true_positive, 1.0, 1.0) +
                     score(counts.false_positive, 0.0, 1.0) +
                     score(counts.false_negative, 1.0, 0.0) + score(counts.true_negative, 0.0, 0.0);
  return sum / divisor;
}

/// Of two masks [H, W]. Throws what `count_pixels` throws.
inline double e_measure(MaskView truth, MaskView prediction) {
  return e_measure(count_pixels(truth, prediction));
}

/// The E-measure of a map, cut at twice its mean (at most 1): a pixel at or above is object. Both
/// are [H, W]. Throws as `mae` of a map does.
///
/// An empty map is cut at 0, which makes everything object, as published: with an empty truth it
/// scores 0, with a full one N / (N - 1). For masks use `e_measure`, which needs no threshold.
inline double e_measure_adaptive(MaskView truth, MapView map) {
  detail::require_map(truth, map);
  const double threshold = std::min(2.0 * detail::mean_of(map), 1.0);
  MaskCounts counts;
  detail::for_each_pixel(
      truth, map, [&](bool in_truth, double value) { counts.add(in_truth, value >= threshold); });
  return e_measure(counts);
}

/// The E-measures of a map under all thresholds of 8 bits.
struct EMeasureCurve {
  /// `at_level[t]`: a pixel is object if 255 times its value, rounded down, is at least t. So at 0
  /// everything is.
  std::array<double, 256> at_level{};

  double mean() const {
    double sum = 0.0;
    for (double value : at_level) sum += value;
    return sum / static_cast<double>(at_level.size());
  }
  double max() const { return *std::max_element(at_level.begin(), at_level.end()); }
};

/// Both are [H, W]. Throws as `mae` of a map does. Its mean and maximum are the published "mean E"
/// and "max E"; they include level 0, so that two empty masks have mean 255 / 256 * N / (N - 1).
inline EMeasureCurve e_measure_curve(MaskView truth, MapView map) {
  detail::require_map(truth, map);
  std::array<Index, 256> objects{};  // pixels of each level, in the truth's object
  std::array<Index, 256> others{};   // and outside it
  MaskCounts counts;                 // at a threshold above all levels: nothing is predicted
  detail::for_each_pixel(truth, map, [&](bool in_truth, double value) {
    ++(in_truth ? objects : others)[static_cast<std::size_t>(value * 255.0)];
    counts.add(in_truth, false);
  });
  EMeasureCurve curve;
  for (std::size_t level = curve.at_level.size(); level-- > 0;) {
    counts.true_positive += objects[level];
    counts.false_negative -= objects[level];
    counts.false_positive += others[level];
    counts.true_negative -= others[level];
    curve.at_level[level] = e_measure(counts);
  }
  return curve;
}

}  // namespace promiseg::metrics
