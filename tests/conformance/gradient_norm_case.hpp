// Cases of the training primitives that normalise: softmax, layer norm and batch norm.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gradient_operands.hpp"

namespace promiseg::conformance {

/// "5x17"
inline std::string matrix_name(Index rows, Index columns) {
  return std::to_string(rows) + "x" + std::to_string(columns);
}

/// Which gradients of a norm are wanted.
struct NormWanted {
  bool in = true;
  bool gamma = true;
  bool beta = true;

  std::string name() const {
    if (in && gamma && beta) return {};
    return std::string("_for") + (in ? "_in" : "") + (gamma ? "_gamma" : "") +
           (beta ? "_beta" : "");
  }
};

inline constexpr NormWanted kInputOnly{true, false, false};
inline constexpr NormWanted kGammaOnly{false, true, false};
inline constexpr NormWanted kBetaOnly{false, false, true};
inline constexpr NormWanted kWeightsOnly{false, true, true};

/// Amplitude of an output's gradient whose sum over the rows has a deviation of a half.
inline double row_amplitude(Index rows) { return 0.5 * std::sqrt(3.0 / static_cast<double>(rows)); }

struct SoftmaxGradientCase {
  static constexpr GradientOperation kOperation = GradientOperation::softmax_gradient;

  Index rows = 1;
  Index columns = 1;
  Index gap = 0;  ///< between rows of the gradient
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    return (label.empty() ? "" : label + "/") + matrix_name(rows, columns) +
           (gap > 0 ? "_gap" : "");
  }
  bool exact() const { return false; }

  /// Weights of a row that add up to about one; a gradient that makes results of the order one.
  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const auto count = static_cast<double>(columns);
    const Extents<2> extents{rows, columns};
    const auto out = operands.input(extents, Values{1, 1 / count, 1 / count});
    const auto gradient = operands.changed(extents, Values{2, count}, {.gaps = {0, gap}});
    return
        [&backend = operands.backend(), out, gradient] { backend.softmax_gradient(out, gradient); };
  }
};

struct LayerNormGradientCase {
  static constexpr GradientOperation kOperation = GradientOperation::layer_norm_gradient;

  Index rows = 1;
  Index channels = 1;
  double amplitude = 1;  ///< of the input, around `offset`
  double offset = 0;
  NormWanted wanted = {};
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    return (label.empty() ? "" : label + "/") + matrix_name(rows, channels) +
           (amplitude == 0  ? "_constant"
            : amplitude > 1 ? "_large"
                            : "") +
           (offset != 0 ? "_offset" : "") + wanted.name();
  }
  bool exact() const { return false; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    constexpr float kEpsilon = 1e-6F;
    const Extents<2> extents{rows, channels};
    const Extents<1> vector{channels};
    // Constant rows are divided by the root of epsilon.
    const double deviation = std::max(amplitude / std::sqrt(3.0), 1e-3);
    const double height = row_amplitude(rows) * std::min(1.0, deviation);
    const auto in = operands.input(extents, Values{1, amplitude, offset});
    const auto gamma = operands.input(vector, Values{2, 0.5, 1});
    const auto gradient = operands.input(extents, Values{3, height});
    const auto in_gradient = operands.grown_if(wanted.in, extents, height / deviation);
    const auto gamma_gradient = operands.grown_if(wanted.gamma, vector);
    const auto beta_gradient = operands.grown_if(wanted.beta, vector);
    return [&backend = operands.backend(), in, gamma, gradient, in_gradient, gamma_gradient,
            beta_gradient] {
      backend.layer_norm_gradient(in, gamma, kEpsilon, gradient, in_gradient, gamma_gradient,
                                  beta_gradient);
    };
  }
};

struct BatchMomentsCase {
  static constexpr GradientOperation kOperation = GradientOperation::batch_moments;

  Index rows = 1;
  Index channels = 1;
  double offset = 0.5;
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    return (label.empty() ? "" : label + "/") + matrix_name(rows, channels) +
           (offset > 1 ? "_offset" : "");
  }
  bool exact() const { return false; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const auto in = operands.input(Extents<2>{rows, channels}, Values{1, 1, offset});
    const BatchMoments moments{operands.written(Extents<1>{channels}),
                               operands.written(Extents<1>{channels})};
    return [&backend = operands.backend(), in, moments] { backend.batch_moments(in, moments); };
  }
};

/// Moments of about the values that `Values{_, 1, 0.5}` have.
template <TrainingBackend B>
BatchMoments moments_input(GradientOperands<B>& operands, Index channels) {
  return {operands.input(Extents<1>{channels}, Values{11, 0.1, 0.5}),
          operands.input(Extents<1>{channels}, Values{12, 0.1, 0.33})};
}

struct BatchNormCase {
  static constexpr GradientOperation kOperation = GradientOperation::batch_norm;

  Index rows = 1;
  Index channels = 1;
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    return (label.empty() ? "" : label + "/") + matrix_name(rows, channels);
  }
  bool exact() const { return false; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const Extents<2> extents{rows, channels};
    const auto in = operands.input(extents, Values{1, 1, 0.5});
    const auto gamma = operands.input(Extents<1>{channels}, Values{2, 0.5, 1});
    const auto beta = operands.input(Extents<1>{channels}, Values{3, 0.5});
    const BatchMoments moments = moments_input(operands, channels);
    const auto out = operands.written(extents);
    return [&backend = operands.backend(), in, gamma, beta, moments, out] {
      backend.batch_norm(in, gamma, beta, moments, 1e-5F, out);
    };
  }
};

struct BatchNormGradientCase {
  static constexpr GradientOperation kOperation = GradientOperation::batch_norm_gradient;

  Index rows = 1;
  Index channels = 1;
  bool own_moments = true;
  NormWanted wanted = {};
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    return (label.empty() ? "" : label + "/") + matrix_name(rows, channels) +
           (own_moments ? "_own" : "_given") + wanted.name();
  }
  bool exact() const { return false; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const Extents<2> extents{rows, channels};
    const Extents<1> vector{channels};
    const double height = row_amplitude(rows);
    const auto in = operands.input(extents, Values{1, 1, 0.5});
    const auto gamma = operands.input(vector, Values{2, 0.5, 1});
    const BatchMoments moments = moments_input(operands, channels);
    const auto gradient = operands.input(extents, Values{3, height});
    const auto in_gradient = operands.grown_if(wanted.in, extents, height);
    const auto gamma_gradient = operands.grown_if(wanted.gamma, vector);
    const auto beta_gradient = operands.grown_if(wanted.beta, vector);
    return [&backend = operands.backend(), in, gamma, moments, own = own_moments, gradient,
            in_gradient, gamma_gradient, beta_gradient] {
      backend.batch_norm_gradient(in, gamma, moments, 1e-5F, own, gradient, in_gradient,
                                  gamma_gradient, beta_gradient);
    };
  }
};

inline std::vector<SoftmaxGradientCase> softmax_gradient_cases() {
  std::vector<SoftmaxGradientCase> cases;
  for (const Index columns : {1, 2, 3, 7, 8, 9, 15, 16, 17, 49, 196, 1025}) {
    cases.push_back({.rows = 5, .columns = columns});
  }
  for (const Index rows : {1, 15, 16, 17, 100}) cases.push_back({.rows = rows, .columns = 21});
  cases.push_back({.rows = 6, .columns = 45, .gap = 3});
  cases.push_back({.rows = 56, .columns = 4096, .label = "decoder_tokens"});
  cases.push_back({.rows = 32768, .columns = 7, .label = "decoder_image"});
  return cases;
}

/// Not two channels: the gradient of the input then nearly vanishes, and what is left is rounding.
inline std::vector<LayerNormGradientCase> layer_norm_gradient_cases() {
  std::vector<LayerNormGradientCase> cases;
  for (const Index channels : {1, 3, 7, 8, 9, 15, 16, 17, 32, 63, 64, 768, 1280}) {
    cases.push_back({.rows = 5, .channels = channels});
  }
  for (const Index rows : {1, 255, 256, 257, 600}) {
    cases.push_back({.rows = rows, .channels = 33});
  }
  for (const NormWanted& wanted : {kInputOnly, kGammaOnly, kBetaOnly, kWeightsOnly}) {
    cases.push_back({.rows = 300, .channels = 20, .wanted = wanted});
  }
  const std::vector<LayerNormGradientCase> others = {
      {.rows = 9, .channels = 100, .amplitude = 100},
      {.rows = 9, .channels = 100, .offset = 10},
      {.rows = 9, .channels = 17, .offset = 10},
      // No variance: what a vector holds beyond the last channel must not make one.
      {.rows = 9, .channels = 17, .amplitude = 0, .offset = 5.3},
      {.rows = 9, .channels = 37, .amplitude = 0, .offset = 0.7},
      {.rows = 56, .channels = 256, .label = "decoder_tokens"},
      {.rows = 4096, .channels = 64, .label = "upscale"},
      {.rows = 32768, .channels = 256, .label = "decoder_image", .heavy = true},
  };
  cases.insert(cases.end(), others.begin(), others.end());
  return cases;
}

inline std::vector<BatchMomentsCase> batch_moments_cases() {
  return {
      {.rows = 1, .channels = 1},
      {.rows = 1, .channels = 37},
      {.rows = 50, .channels = 1},
      {.rows = 255, .channels = 7},
      {.rows = 256, .channels = 16},
      {.rows = 257, .channels = 33},
      {.rows = 2000, .channels = 19},
      {.rows = 2000, .channels = 19, .offset = 3},
      {.rows = 4096, .channels = 64, .label = "resnet_stem"},
      {.rows = 128, .channels = 512, .label = "resnet_layer4"},
      {.rows = 32768, .channels = 64, .label = "resnet_stem", .heavy = true},
  };
}

inline std::vector<BatchNormCase> batch_norm_cases() {
  return {
      {.rows = 1, .channels = 1},
      {.rows = 1, .channels = 37},
      {.rows = 50, .channels = 1},
      {.rows = 255, .channels = 7},
      {.rows = 256, .channels = 16},
      {.rows = 257, .channels = 33},
      {.rows = 4096, .channels = 64, .label = "resnet_stem"},
      {.rows = 128, .channels = 512, .label = "resnet_layer4"},
      {.rows = 32768, .channels = 64, .label = "resnet_stem", .heavy = true},
  };
}

inline std::vector<BatchNormGradientCase> batch_norm_gradient_cases() {
  std::vector<BatchNormGradientCase> cases;
  for (const bool own : {true, false}) {
    for (const Extents<2>& extents :
         {Extents<2>{1, 1}, Extents<2>{1, 37}, Extents<2>{50, 1}, Extents<2>{255, 7},
          Extents<2>{256, 16}, Extents<2>{257, 33}, Extents<2>{2000, 19}}) {
      cases.push_back({.rows = extents[0], .channels = extents[1], .own_moments = own});
    }
    for (const NormWanted& wanted : {kInputOnly, kGammaOnly, kBetaOnly, kWeightsOnly}) {
      cases.push_back({.rows = 300, .channels = 20, .own_moments = own, .wanted = wanted});
    }
  }
  cases.push_back({.rows = 4096, .channels = 64, .label = "resnet_stem"});
  cases.push_back({.rows = 128, .channels = 512, .label = "resnet_layer4"});
  cases.push_back({.rows = 32768, .channels = 64, .label = "resnet_stem", .heavy = true});
  return cases;
}

}  // namespace promiseg::conformance
