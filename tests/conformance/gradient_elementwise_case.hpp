// Cases of the training primitives that go element by element, sums over axes among them.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "elementwise_case.hpp"
#include "epilogue_spec.hpp"
#include "gradient_operands.hpp"

namespace promiseg::conformance {

struct FillCase {
  static constexpr GradientOperation kOperation = GradientOperation::fill;

  Extents<4> extents{};
  Form<4> form = {};
  std::string label = "packed";
  bool heavy = false;

  std::string name() const { return label + "/" + extents_name(extents); }
  bool exact() const { return true; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const auto to = operands.written(extents, form);
    return [&backend = operands.backend(), to] { backend.fill(-1.25F, to); };
  }
};

/// to += scale * from, summed over some axes.
struct AccumulateCase {
  static constexpr GradientOperation kOperation = GradientOperation::accumulate;

  Extents<4> extents{};
  std::array<bool, 4> sums{};  ///< the axes that are summed over: of stride 0 in `to`
  float scale = 1.0F;
  Form<4> from = {};
  Form<4> to = {};
  std::string label = "packed";
  bool heavy = false;

  /// "packed/3x4x5x19_over_yc_scaled"
  std::string name() const {
    std::string axes;
    for (std::size_t axis = 0; axis < 4; ++axis) {
      if (sums[axis]) axes += "nyxc"[axis];
    }
    return label + "/" + extents_name(extents) + (axes.empty() ? "" : "_over_" + axes) +
           (scale != 1.0F ? "_scaled" : "");
  }

  /// One sum of two numbers is the nearest float everywhere.
  bool exact() const { return sums == std::array<bool, 4>{} && scale == 1.0F; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    Extents<4> kept = extents;
    double terms = 1;
    for (std::size_t axis = 0; axis < 4; ++axis) {
      if (!sums[axis]) continue;
      terms *= static_cast<double>(extents[axis]);
      kept[axis] = 1;
    }
    // What is added has a deviation of a half.
    const double amplitude = 0.5 * std::sqrt(3 / terms) / double{scale};
    const auto source = operands.input(extents, Values{1, amplitude}, from);
    const auto target = operands.grown(kept, 1, to).broadcast_to(extents);
    return [&backend = operands.backend(), source, factor = scale, target] {
      backend.accumulate(source, factor, target);
    };
  }
};

struct ActivateCase {
  static constexpr GradientOperation kOperation = GradientOperation::activate;

  Index size = 1;
  Activation activation = Activation::none;
  double amplitude = 6;
  bool in_place = false;  ///< the tape's batch norm does so
  std::string label = "values";
  bool heavy = false;

  std::string name() const {
    return label + "/" + std::to_string(size) + EpilogueSpec{.activation = activation}.name() +
           (amplitude == 0 ? "_zeros" : "") + (in_place ? "_inplace" : "");
  }
  bool exact() const { return activation != Activation::gelu; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const Values values{1, amplitude};
    const Extents<1> extents{size};
    const auto out = in_place ? operands.changed(extents, values) : operands.written(extents);
    const auto in = in_place ? out : operands.input(extents, values);
    return [&backend = operands.backend(), in, kind = activation, out] {
      backend.activate(in, kind, out);
    };
  }
};

struct ActivationGradientCase {
  static constexpr GradientOperation kOperation = GradientOperation::activation_gradient;

  Index size = 1;
  Activation activation = Activation::none;
  double amplitude = 6;  ///< of what went into the activation
  std::string label = "values";
  bool heavy = false;

  std::string name() const {
    return label + "/" + std::to_string(size) + EpilogueSpec{.activation = activation}.name() +
           (amplitude == 0 ? "_zeros" : "") + (amplitude > 6 ? "_large" : "");
  }
  bool exact() const { return activation != Activation::gelu; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const auto in = operands.input(Extents<1>{size}, Values{1, amplitude});
    const auto gradient = operands.changed(Extents<1>{size}, Values{2});
    return [&backend = operands.backend(), in, kind = activation, gradient] {
      backend.activation_gradient(in, kind, gradient);
    };
  }
};

inline std::vector<FillCase> fill_cases() {
  const Extents<4> image{2, 5, 7, 19};
  return {
      {.extents = {1, 1, 1, 1}},
      {.extents = image},
      {.extents = {1, 1, 1, 40000}},
      {.extents = {1, 1, 40000, 1}},
      {.extents = image, .form = kImageGaps, .label = "part_of_larger"},
      {.extents = image, .form = kChannelsFirst, .label = "channels_first"},
      {.extents = image, .form = kReversed, .label = "reversed"},
      {.extents = image, .form = kImageSpread, .label = "spread"},
  };
}

inline std::vector<AccumulateCase> accumulate_cases() {
  const Extents<4> image{3, 4, 5, 19};
  std::vector<AccumulateCase> cases;
  // Every set of axes, from and to memory of several orders.
  for (unsigned set = 0; set < 16; ++set) {
    const auto sums = [set](unsigned axis) { return ((set >> axis) & 1U) != 0; };
    const std::array<bool, 4> axes{sums(0), sums(1), sums(2), sums(3)};
    cases.push_back({.extents = image, .sums = axes});
    cases.push_back({.extents = image, .sums = axes, .scale = -0.25F});
    cases.push_back(
        {.extents = image, .sums = axes, .from = kChannelsFirst, .label = "from_channels_first"});
    cases.push_back({.extents = image,
                     .sums = axes,
                     .from = kImageGaps,
                     .to = kImageGaps,
                     .label = "part_of_larger"});
  }
  const auto over = [](std::array<bool, 4> axes) { return Form<4>{.broadcast = axes}; };
  const std::array<bool, 4> rows{true, true, true, false};
  const std::vector<AccumulateCase> others = {
      {.extents = {1, 1, 1, 1}},
      {.extents = {1, 1, 1, 1}, .sums = {true, true, true, true}},
      {.extents = {1, 1, 1, 40000}},
      {.extents = {1, 1, 40000, 1}, .scale = 0.5F},
      {.extents = image, .from = over(rows), .label = "from_a_vector"},
      {.extents = image,
       .sums = {false, false, true, false},
       .from = over({false, true, false, false}),
       .label = "from_over_height"},
      {.extents = image, .to = kChannelsFirst, .label = "to_channels_first"},
      {.extents = image,
       .sums = {false, true, false, false},
       .to = kReversed,
       .label = "to_reversed"},
      {.extents = image, .from = kReversed, .to = kImageSpread, .label = "to_spread"},
      // One block of rows, exactly, and some more; lines of one channel and of one vector.
      {.extents = {1, 1, 256, 33}, .sums = rows},
      {.extents = {1, 1, 257, 33}, .sums = rows},
      {.extents = {1, 700, 3, 33}, .sums = {false, true, false, false}},
      {.extents = {1, 1, 1000, 1}, .sums = rows},
      {.extents = {5, 1, 1, 2000}, .sums = {false, false, false, true}},
      {.extents = {5, 1, 1, 2000}, .sums = {true, false, false, true}},
      // Biases of the decoder and of APM, the dense prompt, a relative position's two tables.
      {.extents = {1, 1, 56, 2048}, .sums = rows, .label = "decoder_mlp_bias"},
      {.extents = {1, 1, 4096, 128}, .sums = rows, .label = "decoder_key_bias"},
      {.extents = {1, 64, 64, 256}, .sums = rows, .label = "dense_prompt"},
      {.extents = {2, 16, 16, 128}, .sums = rows, .label = "apm_bias"},
      {.extents = {14, 14, 14, 14}, .sums = {false, false, false, true}, .label = "by_row"},
      {.extents = {14, 14, 14, 14}, .sums = {false, false, true, false}, .label = "by_column"},
      {.extents = {8, 64, 64, 256}, .sums = rows, .label = "dense_prompt", .heavy = true},
  };
  cases.insert(cases.end(), others.begin(), others.end());
  return cases;
}

inline std::vector<ActivateCase> activate_cases() {
  std::vector<ActivateCase> cases;
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    for (const Index size : {1, 3, 4, 16, 17, 1000, 40000}) {
      // A few values of GELU's tail are too small for a relative bound.
      if (size < 16 && activation == Activation::gelu) continue;
      cases.push_back({.size = size, .activation = activation});
    }
    cases.push_back({.size = 33, .activation = activation, .in_place = true});
    cases.push_back({.size = 33, .activation = activation, .amplitude = 0});
  }
  cases.push_back(
      {.size = 1048576, .activation = Activation::gelu, .label = "upscale", .heavy = true});
  return cases;
}

inline std::vector<ActivationGradientCase> activation_gradient_cases() {
  std::vector<ActivationGradientCase> cases;
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    for (const Index size : {1, 3, 4, 16, 17, 1000, 40000}) {
      // A few values of GELU's tail are too small for a relative bound.
      if (size < 16 && activation == Activation::gelu) continue;
      cases.push_back({.size = size, .activation = activation});
    }
    cases.push_back({.size = 333, .activation = activation, .amplitude = 100});
    cases.push_back({.size = 33, .activation = activation, .amplitude = 0});
  }
  cases.push_back(
      {.size = 1048576, .activation = Activation::gelu, .label = "upscale", .heavy = true});
  return cases;
}

}  // namespace promiseg::conformance
