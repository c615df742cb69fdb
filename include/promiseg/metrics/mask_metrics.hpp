// All metrics of a mask at once.
#pragma once

#include <array>
#include <string_view>

#include "promiseg/metrics/dice.hpp"
#include "promiseg/metrics/e_measure.hpp"
#include "promiseg/metrics/f_beta.hpp"
#include "promiseg/metrics/iou.hpp"
#include "promiseg/metrics/mae.hpp"
#include "promiseg/metrics/mask_counts.hpp"
#include "promiseg/metrics/precision_recall.hpp"
#include "promiseg/metrics/promise.hpp"
#include "promiseg/metrics/s_measure.hpp"
#include "promiseg/metrics/weighted_f.hpp"

namespace promiseg::metrics {

/// One number per metric; the best MAE is 0, of all others 1 (of the E-measure N / (N - 1)).
struct MaskMetrics {
  double mae = 0.0;
  double dice = 0.0;
  double iou = 0.0;
  double precision = 0.0;
  double recall = 0.0;
  double f_beta = 0.0;
  double s_measure = 0.0;
  double e_measure = 0.0;
  double weighted_f = 0.0;
};

/// A column of a table.
struct MetricColumn {
  std::string_view name;
  double MaskMetrics::*value;
};

/// All columns, in the order of the struct.
inline constexpr std::array<MetricColumn, 9> kMetricColumns{{
    {"mae", &MaskMetrics::mae},
    {"dice", &MaskMetrics::dice},
    {"iou", &MaskMetrics::iou},
    {"precision", &MaskMetrics::precision},
    {"recall", &MaskMetrics::recall},
    {"f_beta", &MaskMetrics::f_beta},
    {"s_measure", &MaskMetrics::s_measure},
    {"e_measure", &MaskMetrics::e_measure},
    {"weighted_f", &MaskMetrics::weighted_f},
}};

/// The metrics as published, of two masks [H, W], any value but 0 object; what is defined for maps
/// takes the mask as a map of 0 and 1. Two empty masks score 1 (MAE 0, E-measure N / (N - 1)),
/// except for the weighted F-measure, which is 0 for an empty truth. Throws `shape_mismatch` if the
/// shapes differ or there are no pixels.
inline MaskMetrics evaluate(MaskView truth, MaskView prediction) {
  const MaskCounts counts = count_pixels(truth, prediction);
  const Tensor<double, 2> map = to_map(prediction);
  return {.mae = mae(counts),
          .dice = dice(counts),
          .iou = iou(counts),
          .precision = precision(counts),
          .recall = recall(counts),
          .f_beta = f_beta(counts),
          .s_measure = s_measure(truth, map),
          .e_measure = e_measure(counts),
          .weighted_f = weighted_f(truth, map)};
}

/// The same by the rules of ProMISe's authors (`promise.hpp`); may hold NaN.
inline MaskMetrics evaluate_promise(MaskView truth, MaskView prediction) {
  const MaskCounts counts = count_pixels(truth, prediction);
  const Tensor<double, 2> map = to_map(prediction);
  return {.mae = mae(counts),
          .dice = promise_dice(counts),
          .iou = promise_iou(counts),
          .precision = promise_precision(counts),
          .recall = promise_recall(counts),
          .f_beta = promise_f_beta(counts),
          .s_measure = promise_s_measure(truth, map),
          .e_measure = e_measure(counts),
          .weighted_f = promise_weighted_f(truth, map)};
}

}  // namespace promiseg::metrics
