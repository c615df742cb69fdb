// The weighted F-measure of Margolin, Zelnik-Manor and Tal ("How to evaluate foreground maps?",
// CVPR 2014).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "promiseg/metrics/nearest_object.hpp"
#include "promiseg/metrics/pixel_pairs.hpp"

namespace promiseg::metrics {

namespace detail {

inline constexpr Index kBlurRadius = 3;

/// One axis of the 7x7 Gaussian with sigma 5, which is a product of two such rows; its sum is 1.
inline std::array<double, 2 * kBlurRadius + 1> blur_weights() {
  constexpr double kSigma = 5.0;
  std::array<double, 2 * kBlurRadius + 1> weights{};
  double sum = 0.0;
  double at = -static_cast<double>(kBlurRadius);
  for (double& weight : weights) {
    weight = std::exp(-at * at / (2.0 * kSigma * kSigma));
    sum += weight;
    at += 1.0;
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// Blurs along one axis: down with steps (1, 0), across with (0, 1). Zeros lie beyond the border.
inline Tensor<double, 2> blur_along(const Tensor<double, 2>& image, Index step_y, Index step_x) {
  const auto weights = blur_weights();
  const Index height = image.extent(0);
  const Index width = image.extent(1);
  const TensorView<const double, 2> from = image.view();
  Tensor<double, 2> result(image.extents());
  const TensorView<double, 2> to = result.view();
  for (Index y = 0; y < height; ++y) {
    for (Index k = -kBlurRadius; k <= kBlurRadius; ++k) {
      const double weight = weights[static_cast<std::size_t>(k + kBlurRadius)];
      const Index from_y = y + k * step_y;
      const Index shift = k * step_x;
      if (from_y < 0 || from_y >= height) continue;
      const Index end = width - std::max(Index{0}, shift);
      for (Index x = std::max(Index{0}, -shift); x < end; ++x) {
        to(y, x) += weight * from(from_y, x + shift);
      }
    }
  }
  return result;
}

}  // namespace detail

/// F1 of a precision and a recall whose errors are weighted by where they lie, from 0 to 1; truth
/// and map are [H, W]. For a mask pass `to_map(mask)`. Throws as `mae` of a map does.
///
/// Errors in the object count less where their neighbourhood is right: the smaller of the error and
/// the blurred error, for which the background takes over the error of the nearest object pixel.
/// Errors in the background count from 1 at the object to 2 far away, 1.5 at a distance of 5
/// pixels.
///
/// Truth empty: 0, as published, also if the prediction is empty. Prediction empty, truth not: not
/// always 0, because the blur takes the world beyond the border for right.
inline double weighted_f(MaskView truth, MapView map) {
  detail::require_map(truth, map);
  const auto area = static_cast<double>(detail::area_of(truth));
  if (area == 0.0) return 0.0;
  const Index width = truth.extent(1);

  Tensor<double, 2> error(truth.extents());
  double* next = error.data();
  detail::for_each_pixel(truth, map, [&](bool is_object, double value) {
    *next++ = std::abs(value - (is_object ? 1.0 : 0.0));
  });
  const Tensor<Index, 2> nearest = nearest_object(truth);
  Tensor<double, 2> spread(truth.extents());  // of each pixel the error of its nearest object pixel
  for (Index i = 0; i < spread.size(); ++i) spread.data()[i] = error.data()[nearest.data()[i]];
  const Tensor<double, 2> blurred = detail::blur_along(detail::blur_along(spread, 1, 0), 0, 1);

  double missed = 0.0;       // the weighted errors in the object
  double false_alarm = 0.0;  // and in the background
  for (Index i = 0; i < error.size(); ++i) {
    const double here = error.data()[i];
    const Index object = nearest.data()[i];
    if (object == i) {
      missed += std::min(here, blurred.data()[i]);
    } else {
      const auto dy = static_cast<double>(i / width - object / width);
      const auto dx = static_cast<double>(i % width - object % width);
      const double distance = std::sqrt(dy * dy + dx * dx);
      false_alarm += here * (2.0 - std::exp(std::log(0.5) / 5.0 * distance));
    }
  }
  const double found = area - missed;
  const double recall = found / area;
  const double precision = found / (found + false_alarm + detail::kEpsilon);
  return 2.0 * recall * precision / (recall + precision + detail::kEpsilon);
}

}  // namespace promiseg::metrics
