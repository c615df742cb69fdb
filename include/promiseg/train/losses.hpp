// What training makes small. Each loss also gives its gradient.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "promiseg/core/tensor.hpp"
#include "promiseg/io/config_fields.hpp"
#include "promiseg/sam/prompts.hpp"

namespace promiseg::train {

/// Which loss compares masks with the truth.
enum class LossKind {
  logits,  ///< cross entropy, and Dice of probabilities
  paper,   ///< the original's, which takes the sigmoid twice
};

struct LossConfig {
  LossKind kind = LossKind::logits;
  double corner_weight = 0;  ///< of the auxiliary loss on APM's box corners
};

/// A loss of a batch and its gradient by the logits.
struct MaskLoss {
  double value = 0;
  double cross_entropy = 0;   ///< its two terms
  double dice = 0;            ///< 1 - the Dice score as the loss has it
  Tensor<float, 3> gradient;  ///< [B, H, W]
};

namespace detail {

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// Cross entropy of a logit, in the form that does not overflow.
inline double cross_entropy(double logit, double target) {
  return std::max(logit, 0.0) - logit * target + std::log1p(std::exp(-std::abs(logit)));
}

/// Sums of one item of a batch: intersection, probabilities, truth.
struct Overlap {
  double intersection = 0;
  double predicted = 0;
  double truth = 0;
};

}  // namespace detail

/// Cross entropy + 1 - Dice, logits and targets [B, H, W], targets in [0, 1]. With p the sigmoid of
/// the logits, I the sum of p * target, P of p and T of target over one item's pixels:
/// - `logits`: mean cross entropy, and Dice = mean over items of (2 I + 1) / (P + T + 1).
/// - `paper`: the same of p in place of the logits, so the sigmoid is taken twice, and Dice = mean
///   of 2 (I + 1) / (P + T + 1), clamped to [0, 1]; beyond, it has no gradient (`BCEDiceLoss` of
///   the original).
/// Throws `shape_mismatch`.
inline MaskLoss mask_loss(LossKind kind, TensorView<const float, 3> logits,
                          TensorView<const float, 3> targets) {
  require_shape(targets, logits.extents(), "loss: targets");
  const bool paper = kind == LossKind::paper;
  const Index items = logits.extent(0);
  const Index pixels = logits.extent(1) * logits.extent(2);
  const Tensor<float, 3> ordered(logits);
  const Tensor<float, 3> truth(targets);
  Tensor<float, 3> probabilities(logits.extents());  // after the last sigmoid
  MaskLoss loss;
  loss.gradient = Tensor<float, 3>(logits.extents());
  std::vector<detail::Overlap> overlaps(static_cast<std::size_t>(items));
  double score = 0;
  for (Index b = 0; b < items; ++b) {
    detail::Overlap& overlap = overlaps[static_cast<std::size_t>(b)];
    for (Index i = b * pixels; i < (b + 1) * pixels; ++i) {
      double x = double{ordered.data()[i]};
      if (paper) x = detail::sigmoid(x);
      const double p = detail::sigmoid(x);
      const double t = double{truth.data()[i]};
      loss.cross_entropy += detail::cross_entropy(x, t);
      overlap.intersection += p * t;
      overlap.predicted += p;
      overlap.truth += t;
      probabilities.data()[i] = static_cast<float>(p);
    }
    score += (2 * overlap.intersection + (paper ? 2 : 1)) / (overlap.predicted + overlap.truth + 1);
  }
  const auto count = static_cast<double>(items);
  score /= count;
  const bool clamped = paper && (score > 1 || score < 0);
  loss.cross_entropy /= count * static_cast<double>(pixels);
  loss.dice = 1 - (paper ? std::clamp(score, 0.0, 1.0) : score);
  loss.value = loss.cross_entropy + loss.dice;
  for (Index b = 0; b < items; ++b) {
    const detail::Overlap& overlap = overlaps[static_cast<std::size_t>(b)];
    const double below = overlap.predicted + overlap.truth + 1;
    const double above = 2 * overlap.intersection + (paper ? 2 : 1);
    for (Index i = b * pixels; i < (b + 1) * pixels; ++i) {
      const double p = double{probabilities.data()[i]};
      const double t = double{truth.data()[i]};
      double g = (p - t) / (count * static_cast<double>(pixels));
      if (!clamped) g -= (2 * t * below - above) / (below * below) / count * p * (1 - p);
      if (paper) {
        const double q = detail::sigmoid(double{ordered.data()[i]});
        g *= q * (1 - q);
      }
      loss.gradient.data()[i] = static_cast<float>(g);
    }
  }
  return loss;
}

/// The mean distance of predicted box corners from the true ones, as a share of the frame's side:
/// |x0 - x0'| + |y0 - y0'| + |x1 - x1'| + |y1 - y1'| over 4 sides. Corners are the points labelled
/// 2 and 3, the first of each. `gradient` [points, 2] grows by `weight` times the gradient.
inline double corner_loss(std::span<const Index> labels, TensorView<const float, 2> points,
                          const BoxPrompt& box, double side, double weight,
                          TensorView<float, 2> gradient) {
  const std::array<std::array<double, 2>, 2> corners = {std::array{double{box.x0}, double{box.y0}},
                                                        std::array{double{box.x1}, double{box.y1}}};
  double sum = 0;
  for (const std::size_t corner : {std::size_t{0}, std::size_t{1}}) {
    const auto found = std::find(labels.begin(), labels.end(), static_cast<Index>(corner + 2));
    require(found != labels.end(), ErrorCode::invalid_argument,
            "the auxiliary loss pulls box corners: point_value needs labels 2 and 3");
    const Index i = found - labels.begin();
    for (Index axis = 0; axis < 2; ++axis) {
      const double distance =
          double{points(i, axis)} - corners[corner][static_cast<std::size_t>(axis)];
      sum += std::abs(distance) / (4 * side);
      const double slope = distance > 0 ? 1 : (distance < 0 ? -1 : 0);
      gradient(i, axis) += static_cast<float>(weight * slope / (4 * side));
    }
  }
  return sum;
}

}  // namespace promiseg::train

namespace promiseg::detail {

template <>
struct EnumNames<train::LossKind> {
  static constexpr std::array<std::string_view, 2> kNames = {"logits", "paper"};
};

}  // namespace promiseg::detail
