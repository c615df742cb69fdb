// The metrics as the authors of ProMISe compute them, for comparing with their tables. Where their
// code differs from what was published it is followed, also where it is plainly mistaken; what it
// gives was recorded in tests/data/fixtures/metrics.safetensors. MAE and E-measure do not differ:
// they are `mae` and `e_measure` of the counts.
#pragma once

#include <limits>

#include "promiseg/metrics/f_beta.hpp"
#include "promiseg/metrics/mask_counts.hpp"
#include "promiseg/metrics/pixel_pairs.hpp"
#include "promiseg/metrics/s_measure.hpp"

namespace promiseg::metrics {

namespace detail {

/// part / whole; 0 if the whole is 0.
inline double share_or_zero(double part, double whole) { return whole > 0.0 ? part / whole : 0.0; }

}  // namespace detail

/// As `dice`, but NaN (0 / 0) if both masks are empty.
inline double promise_dice(const MaskCounts& counts) {
  const auto both = static_cast<double>(2 * counts.true_positive);
  return both / static_cast<double>(counts.truth_area() + counts.predicted_area());
}

/// As `iou`, but 0 if both masks are empty.
inline double promise_iou(const MaskCounts& counts) {
  return detail::share_or_zero(static_cast<double>(counts.true_positive),
                               static_cast<double>(counts.truth_area() + counts.false_positive));
}

/// As `precision`, but 0 if both masks are empty.
inline double promise_precision(const MaskCounts& counts) {
  return detail::share_or_zero(static_cast<double>(counts.true_positive),
                               static_cast<double>(counts.predicted_area()));
}

/// As `recall`, but 0 if both masks are empty.
inline double promise_recall(const MaskCounts& counts) {
  return detail::share_or_zero(static_cast<double>(counts.true_positive),
                               static_cast<double>(counts.truth_area()));
}

/// As `f_beta`, but 0 if both masks are empty.
inline double promise_f_beta(const MaskCounts& counts) {
  const double precision = promise_precision(counts);
  const double recall = promise_recall(counts);
  return detail::share_or_zero((1.0 + kBetaSquared) * precision * recall,
                               kBetaSquared * precision + recall);
}

/// As `s_measure`, but deviations divide by n instead of n - 1, and the object's centre is rounded
/// when counted from 1, so that halves go to the other neighbour. Same arguments, same errors. Of
/// the rounding a single tie is on record.
inline double promise_s_measure(MaskView truth, MapView map) {
  return detail::s_measure(truth, map, {.lost_degrees = 0, .first_index = 1});
}

/// What is left of the weighted F-measure in the authors' code, where the blur is zero and all
/// weights are 1: recall is always 1, precision A / (A + the map's sum outside the object) with the
/// object's area A. Missing the object costs nothing, and an empty prediction scores 1. NaN if the
/// truth is empty. Same arguments and errors as `weighted_f`.
inline double promise_weighted_f(MaskView truth, MapView map) {
  detail::require_map(truth, map);
  const auto area = static_cast<double>(detail::area_of(truth));
  double outside = 0.0;
  detail::for_each_pixel(truth, map,
                         [&](bool is_object, double value) { outside += is_object ? 0.0 : value; });
  if (area == 0.0) return std::numeric_limits<double>::quiet_NaN();
  const double precision = area / (area + outside);
  return 2.0 * precision / (1.0 + precision);
}

}  // namespace promiseg::metrics
