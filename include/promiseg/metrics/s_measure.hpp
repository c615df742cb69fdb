// The structure measure of Fan et al. ("Structure-measure: a new way to evaluate foreground maps",
// ICCV 2017).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "promiseg/metrics/pixel_pairs.hpp"

namespace promiseg::metrics {

namespace detail {

/// What implementations of the S-measure disagree about. The defaults are the published code's.
struct SMeasureRules {
  int lost_degrees = 1;  ///< the variance of n values is their squares' sum over n minus this
  int first_index = 0;   ///< of rows and columns when the centre is rounded; decides ties
};

/// The S_object of one side: the map's values in the truth's object, or one minus its values in the
/// background, ought to be high and alike. That side must have pixels.
inline double object_score(MaskView truth, MapView map, bool object, const SMeasureRules& rules) {
  const auto for_each_value = [&](const auto& body) {
    for_each_pixel(truth, map, [&](bool is_object, double value) {
      if (is_object == object) body(object ? value : 1.0 - value);
    });
  };
  double count = 0.0;
  double sum = 0.0;
  for_each_value([&](double value) {
    count += 1.0;
    sum += value;
  });
  const double mean = sum / count;
  double squares = 0.0;
  for_each_value([&](double value) { squares += (value - mean) * (value - mean); });
  const double degrees = count - rules.lost_degrees;
  const double deviation = degrees > 0.0 ? std::sqrt(squares / degrees) : 0.0;
  return 2.0 * mean / (mean * mean + 1.0 + deviation + kEpsilon);
}

/// The structural similarity of a map and the truth in one quadrant, which must have pixels: 1 if
/// both are constant there, even at different values; 0 if one of them is.
inline double similarity(MaskView truth, MapView map) {
  const auto pixels = static_cast<double>(truth.size());
  const double map_mean = mean_of(map);
  const double truth_mean = static_cast<double>(area_of(truth)) / pixels;
  double map_squares = 0.0;
  double truth_squares = 0.0;
  double products = 0.0;
  for_each_pixel(truth, map, [&](bool is_object, double value) {
    const double a = value - map_mean;
    const double b = (is_object ? 1.0 : 0.0) - truth_mean;
    map_squares += a * a;
    truth_squares += b * b;
    products += a * b;
  });
  const double degrees = pixels - 1.0 + kEpsilon;
  const double alike = 4.0 * map_mean * truth_mean * products / degrees;
  const double scale = (map_mean * map_mean + truth_mean * truth_mean) *
                       (map_squares / degrees + truth_squares / degrees);
  if (alike != 0.0) return alike / (scale + kEpsilon);
  return scale == 0.0 ? 1.0 : 0.0;
}

/// How many rows, or columns, there are up to and with the centre's; halves are rounded to even.
inline Index lines_to_centre(double centre, const SMeasureRules& rules) {
  return static_cast<Index>(std::nearbyint(centre + rules.first_index)) + 1 - rules.first_index;
}

/// S_region: the similarities of the four quadrants around the centre of the truth's object,
/// weighted by their areas. The object must have pixels.
inline double region_score(MaskView truth, MapView map, const SMeasureRules& rules) {
  Index y_sum = 0;
  Index x_sum = 0;
  for (Index y = 0; y < truth.extent(0); ++y) {
    for (Index x = 0; x < truth.extent(1); ++x) {
      if (truth(y, x) == 0) continue;
      y_sum += y;
      x_sum += x;
    }
  }
  const auto area = static_cast<double>(area_of(truth));
  const double centre_y = static_cast<double>(y_sum) / area;
  const double centre_x = static_cast<double>(x_sum) / area;
  const std::array<Index, 3> ys{0, lines_to_centre(centre_y, rules), truth.extent(0)};
  const std::array<Index, 3> xs{0, lines_to_centre(centre_x, rules), truth.extent(1)};
  double score = 0.0;
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t j = 0; j < 2; ++j) {
      const auto quadrant = [&](auto view) {
        return view.slice(0, ys[i], ys[i + 1] - ys[i]).slice(1, xs[j], xs[j + 1] - xs[j]);
      };
      const MaskView part = quadrant(truth);
      if (part.empty()) continue;
      score += static_cast<double>(part.size()) * similarity(part, quadrant(map));
    }
  }
  return score / static_cast<double>(truth.size());
}

inline double s_measure(MaskView truth, MapView map, const SMeasureRules& rules) {
  require_map(truth, map);
  const Index area = area_of(truth);
  if (area == 0) return 1.0 - mean_of(map);
  if (area == truth.size()) return mean_of(map);
  const double truth_mean = static_cast<double>(area) / static_cast<double>(truth.size());
  const double object = truth_mean * object_score(truth, map, true, rules) +
                        (1.0 - truth_mean) * object_score(truth, map, false, rules);
  return std::max(0.0, 0.5 * object + 0.5 * region_score(truth, map, rules));
}

}  // namespace detail

/// Half object similarity (are values in the object high and alike, in the background low and
/// alike), half region similarity (structural similarity in the four quadrants around the object's
/// centre), from 0 to 1; truth and map are [H, W]. For a mask pass `to_map(mask)`. Throws as `mae`
/// of a map does.
///
/// Truth empty: 1 minus the mean of the map, so two empty masks score 1. Truth everywhere: the mean
/// of the map. If the centre lies in the last row or column, two quadrants have no pixels; they
/// count nothing here, where the published code divides by zero and gives NaN.
inline double s_measure(MaskView truth, MapView map) { return detail::s_measure(truth, map, {}); }

}  // namespace promiseg::metrics
