// Losses: values by hand, gradients against finite differences in double, and symmetries.
#include "promiseg/train/losses.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "random_tensor.hpp"

using namespace promiseg;
using promiseg_test::random_tensor;
using train::LossKind;
using train::mask_loss;
using train::MaskLoss;

namespace {

constexpr std::array<LossKind, 2> kKinds = {LossKind::logits, LossKind::paper};

Tensor<float, 3> constant(const Extents<3>& extents, float value) {
  Tensor<float, 3> tensor(extents);
  for (float& element : tensor.elements()) element = value;
  return tensor;
}

/// The loss is computed in double, so a difference of 2e-3 is good to ten digits; its error is that
/// of the third derivative, 2e-7, and that of a gradient stored as float32.
void check_gradient(LossKind kind, Tensor<float, 3> logits, const Tensor<float, 3>& targets) {
  const MaskLoss loss = mask_loss(kind, logits.view(), targets.view());
  REQUIRE(loss.gradient.extents() == logits.extents());
  double error = 0;
  double norm = 0;
  for (Index i = 0; i < logits.size(); ++i) {
    float& logit = logits.data()[i];
    const float before = logit;
    const float high = before + 1e-3F;
    const float low = before - 1e-3F;
    logit = high;
    double slope = mask_loss(kind, logits.view(), targets.view()).value;
    logit = low;
    slope -= mask_loss(kind, logits.view(), targets.view()).value;
    logit = before;
    slope /= double{high} - double{low};
    const double apart = double{loss.gradient.data()[i]} - slope;
    error += apart * apart;
    norm += slope * slope;
  }
  CHECK(norm > 0);
  CHECK(std::sqrt(error) <= 1e-5 * std::sqrt(norm));
}

bool refuses(ErrorCode code, const Tensor<float, 3>& logits, const Tensor<float, 3>& targets) {
  try {
    mask_loss(LossKind::logits, logits.view(), targets.view());
  } catch (const Error& error) {
    return error.code() == code;
  }
  return false;
}

}  // namespace

TEST_CASE("mask loss: a hand-made case of both kinds") {
  // Logits of zero, two pixels of four are object.
  const Tensor<float, 3> logits({1, 2, 2});
  Tensor<float, 3> targets({1, 2, 2});
  targets.view()(0, 0, 1) = 1;
  targets.view()(0, 1, 0) = 1;

  const MaskLoss plain = mask_loss(LossKind::logits, logits.view(), targets.view());
  CHECK(std::abs(plain.cross_entropy - std::log(2.0)) < 1e-12);
  CHECK(std::abs(plain.dice - (1 - 3.0 / 5)) < 1e-12);  // (2 * 1 + 1) / (2 + 2 + 1)
  CHECK(std::abs(plain.value - plain.cross_entropy - plain.dice) < 1e-12);
  // (p - t) / 4 - (2 t * 5 - 3) / 25 * p * (1 - p)
  CHECK(std::abs(double{plain.gradient.view()(0, 0, 0)} - (0.125 + 0.03)) < 1e-7);
  CHECK(std::abs(double{plain.gradient.view()(0, 0, 1)} - (-0.125 - 0.07)) < 1e-7);

  // The same of p = sigmoid(sigmoid(0)) = 0.62246.
  const MaskLoss paper = mask_loss(LossKind::paper, logits.view(), targets.view());
  CHECK(std::abs(paper.cross_entropy - 0.7240769841801067) < 1e-12);
  CHECK(std::abs(paper.dice - 0.18215475993818808) < 1e-12);
  CHECK(std::abs(paper.value - paper.cross_entropy - paper.dice) < 1e-12);
}

TEST_CASE("mask loss: gradients") {
  const Extents<3> extents{3, 5, 4};
  for (const LossKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    check_gradient(kind, random_tensor<3>(extents, 1, -3, 3), random_tensor<3>(extents, 2, 0, 1));
    check_gradient(kind, random_tensor<3>(extents, 3, -3, 3), constant(extents, 0));
    check_gradient(kind, random_tensor<3>(extents, 4, -3, 3), constant(extents, 1));
  }
}

TEST_CASE("mask loss: the paper's Dice is clamped, and then has no gradient") {
  // 2 (I + 1) / (P + T + 1) is above 1 for an object of two pixels.
  const auto logits = random_tensor<3>({1, 1, 2}, 5, 2, 4);
  const auto targets = constant({1, 1, 2}, 1);
  const MaskLoss loss = mask_loss(LossKind::paper, logits.view(), targets.view());
  CHECK(loss.dice == 0.0);
  CHECK(loss.value == loss.cross_entropy);
  check_gradient(LossKind::paper, logits, targets);
  CHECK(mask_loss(LossKind::logits, logits.view(), targets.view()).dice > 0);
}

TEST_CASE("mask loss: better logits make it smaller") {
  const Extents<3> extents{2, 4, 4};
  const auto targets = random_tensor<3>(extents, 6, 0, 1);
  Tensor<float, 3> truth(extents);
  for (Index i = 0; i < truth.size(); ++i) truth.data()[i] = targets.data()[i] < 0.5F ? 0.0F : 1.0F;
  for (const LossKind kind : kKinds) {
    double last = std::numeric_limits<double>::infinity();
    for (const float height : {-4.0F, 0.0F, 1.0F, 4.0F}) {
      Tensor<float, 3> logits(extents);
      for (Index i = 0; i < truth.size(); ++i) {
        logits.data()[i] = height * (2.0F * truth.data()[i] - 1.0F);
      }
      const double value = mask_loss(kind, logits.view(), truth.view()).value;
      CHECK(value < last);
      last = value;
    }
  }
}

TEST_CASE("mask loss: large logits do not overflow") {
  for (const LossKind kind : kKinds) {
    Tensor<float, 3> logits({1, 1, 2});
    logits.data()[0] = 1000;
    logits.data()[1] = -1000;
    Tensor<float, 3> wrong({1, 1, 2});
    wrong.data()[1] = 1;
    const MaskLoss loss = mask_loss(kind, logits.view(), wrong.view());
    CHECK(std::isfinite(loss.value));
    for (const float g : loss.gradient.elements()) CHECK(std::isfinite(g));
    if (kind == LossKind::logits) CHECK(loss.cross_entropy == 1000.0);
  }
}

TEST_CASE("mask loss: neither the order of items nor that of pixels matters") {
  const Extents<3> extents{2, 3, 4};
  const auto logits = random_tensor<3>(extents, 7, -3, 3);
  const auto targets = random_tensor<3>(extents, 8, 0, 1);
  for (const LossKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    const MaskLoss expected = mask_loss(kind, logits.view(), targets.view());
    // Items and columns backwards, by views of negative strides.
    const auto turned = [&](const Tensor<float, 3>& image) {
      return TensorView<const float, 3>(image.data() + 12 + 3, extents, {-12, 4, -1});
    };
    const MaskLoss loss = mask_loss(kind, turned(logits), turned(targets));
    CHECK(std::abs(loss.value - expected.value) < 1e-12);
    const TensorView<const float, 3> gradient = turned(expected.gradient);
    for (Index b = 0; b < 2; ++b) {
      for (Index y = 0; y < 3; ++y) {
        for (Index x = 0; x < 4; ++x) {
          CHECK(std::abs(loss.gradient.view()(b, y, x) - gradient(b, y, x)) < 1e-8F);
        }
      }
    }
  }
}

TEST_CASE("mask loss: cross entropy treats object and background alike, Dice does not") {
  const Extents<3> extents{1, 3, 4};
  const auto logits = random_tensor<3>(extents, 9, -3, 3);
  const auto targets = random_tensor<3>(extents, 10, 0, 0.3);
  Tensor<float, 3> opposite(extents);
  Tensor<float, 3> complement(extents);
  for (Index i = 0; i < logits.size(); ++i) {
    opposite.data()[i] = -logits.data()[i];
    complement.data()[i] = 1.0F - targets.data()[i];
  }
  const MaskLoss one = mask_loss(LossKind::logits, logits.view(), targets.view());
  const MaskLoss other = mask_loss(LossKind::logits, opposite.view(), complement.view());
  CHECK(std::abs(one.cross_entropy - other.cross_entropy) < 1e-6);
  CHECK(std::abs(one.dice - other.dice) > 0.01);
}

TEST_CASE("mask loss: wrong shapes are refused") {
  const Tensor<float, 3> logits({2, 3, 4});
  CHECK_FALSE(refuses(ErrorCode::shape_mismatch, logits, Tensor<float, 3>({2, 3, 4})));
  CHECK(refuses(ErrorCode::shape_mismatch, logits, Tensor<float, 3>({1, 3, 4})));
  CHECK(refuses(ErrorCode::shape_mismatch, logits, Tensor<float, 3>({2, 4, 3})));
}

TEST_CASE("corner loss: distances of the corners, as a share of four sides") {
  const std::vector<Index> labels{1, 2, 0, 3};
  Tensor<float, 2> points({4, 2});
  const std::array<float, 8> values{500, 500, 14, 26, 0, 0, 100, 230};
  std::copy(values.begin(), values.end(), points.data());
  const BoxPrompt box{10, 20, 110, 220};
  Tensor<float, 2> gradient({4, 2});
  gradient.view()(1, 0) = 1;  // it grows
  constexpr double kSide = 1000;
  constexpr double kWeight = 0.5;
  const auto value = [&] {
    Tensor<float, 2> unused({4, 2});
    return train::corner_loss(labels, points.view(), box, kSide, kWeight, unused.view());
  };
  const double loss =
      train::corner_loss(labels, points.view(), box, kSide, kWeight, gradient.view());
  CHECK(std::abs(loss - (4 + 6 + 10 + 10) / 4000.0) < 1e-12);
  gradient.view()(1, 0) -= 1;

  for (Index i = 0; i < points.size(); ++i) {
    CAPTURE(i);
    float& at = points.data()[i];
    const float before = at;
    at = before + 0.5F;
    double slope = value();
    at = before - 0.5F;
    slope -= value();
    at = before;
    CHECK(std::abs(double{gradient.data()[i]} - kWeight * slope) < 1e-7);
  }
  CHECK(gradient.view()(3, 0) < 0);

  Tensor<float, 2> other({4, 2});
  const double swapped = train::corner_loss(std::vector<Index>{1, 3, 0, 2}, points.view(),
                                            {110, 220, 10, 20}, kSide, kWeight, other.view());
  CHECK(std::abs(swapped - loss) < 1e-12);  // both corners, both names
}

TEST_CASE("corner loss: zero at the corners, the first point of each label counts") {
  const std::vector<Index> labels{2, 3, 3, 2};
  Tensor<float, 2> points({4, 2});
  const std::array<float, 8> values{1, 2, 3, 4, 50, 60, 70, 80};
  std::copy(values.begin(), values.end(), points.data());
  Tensor<float, 2> gradient({4, 2});
  CHECK(train::corner_loss(labels, points.view(), {1, 2, 3, 4}, 256, 1, gradient.view()) == 0.0);
  for (const float g : gradient.elements()) CHECK(g == 0.0F);
}

TEST_CASE("corner loss: both labels are needed") {
  const Tensor<float, 2> points({2, 2});
  Tensor<float, 2> gradient({2, 2});
  for (const std::vector<Index>& labels :
       {std::vector<Index>{2, 1}, std::vector<Index>{0, 3}, std::vector<Index>{1, 1}}) {
    ErrorCode code = ErrorCode::io;
    try {
      train::corner_loss(labels, points.view(), {}, 256, 1, gradient.view());
    } catch (const Error& error) {
      code = error.code();
    }
    CHECK(code == ErrorCode::invalid_argument);
  }
}
