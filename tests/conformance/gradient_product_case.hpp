// Cases of the training primitives that add up products, and of pooling.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "batched_gemm_case.hpp"
#include "conv_case.hpp"
#include "gradient_operands.hpp"

namespace promiseg::conformance {

/// out [batch, m, n] += scale * a [batch, m, k] x b [batch, k, n]
struct AccumulateGemmCase {
  static constexpr GradientOperation kOperation = GradientOperation::accumulate_batched_gemm;

  Index batch = 1;
  Index m = 1;
  Index n = 1;
  Index k = 1;
  MatrixForm a = kRows;
  MatrixForm b = kRows;
  MatrixForm out = kRows;
  float scale = 1.0F;
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    const BatchedGemmCase product{batch, m, n, k, a, b, out, scale, label, heavy};
    return product.name();
  }
  bool exact() const { return false; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const double amplitude = std::sqrt(3.0 / std::sqrt(static_cast<double>(k)));
    const auto left = operands.input(Extents<3>{batch, m, k}, Values{1, amplitude}, a.form);
    const auto right = operands.input(Extents<3>{batch, k, n}, Values{2, amplitude}, b.form);
    const auto to = operands.grown(Extents<3>{batch, m, n}, 1, out.form);
    return [&backend = operands.backend(), left, right, factor = scale, to] {
      backend.accumulate_batched_gemm(left, right, factor, to);
    };
  }
};

struct ConvWeightGradientCase {
  static constexpr GradientOperation kOperation = GradientOperation::conv2d_weight_gradient;

  Extents<4> in{};
  Index outputs = 1;
  ConvGeometry geometry = {};
  float scale = 1.0F;
  std::string label = {};
  bool heavy = false;

  Extents<4> out() const { return convolved(in, geometry, outputs); }

  std::string name() const {
    return (label.empty() ? "" : label + "/") + extents_name(in) + "_n" + std::to_string(outputs) +
           geometry_name(geometry) + (scale != 1.0F ? "_scaled" : "");
  }
  bool exact() const { return false; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const Extents<4> out = this->out();
    const Index pixels = out[0] * out[1] * out[2];
    const Index inputs = geometry.kernel * geometry.kernel * in[3];
    const auto image = operands.input(in, Values{1});
    const auto gradient = operands.input(out, Values{2, weight_amplitude(pixels)});
    const auto weights = operands.grown(Extents<2>{outputs, inputs});
    return [&backend = operands.backend(), image, shape = geometry, gradient, factor = scale,
            weights] { backend.conv2d_weight_gradient(image, shape, gradient, factor, weights); };
  }
};

/// Which gradients are wanted.
enum class Wanted { both, first, second };

struct DepthwiseGradientCase {
  static constexpr GradientOperation kOperation = GradientOperation::depthwise_conv2d_gradient;

  Extents<4> in{};
  ConvGeometry geometry = {};
  Wanted wanted = Wanted::both;  ///< the input's, the weights'
  bool heavy = false;

  std::string name() const {
    return extents_name(in) + geometry_name(geometry) +
           (wanted == Wanted::first    ? "_input"
            : wanted == Wanted::second ? "_weights"
                                       : "");
  }
  bool exact() const { return false; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    const Extents<4> out = convolved(in, geometry, in[3]);
    const Extents<3> filters{geometry.kernel, geometry.kernel, in[3]};
    // Sums over pixels are then of the order one, and those over taps smaller.
    const double amplitude = weight_amplitude(out[0] * out[1] * out[2]);
    const auto image = operands.input(in, Values{1});
    const auto weights = operands.input(filters, Values{2});
    const auto gradient = operands.input(out, Values{3, amplitude});
    const auto image_gradient = operands.grown_if(wanted != Wanted::second, in, amplitude);
    const auto weight_gradient = operands.grown_if(wanted != Wanted::first, filters);
    return [&backend = operands.backend(), image, weights, shape = geometry, gradient,
            image_gradient, weight_gradient] {
      backend.depthwise_conv2d_gradient(image, weights, shape, gradient, image_gradient,
                                        weight_gradient);
    };
  }
};

struct MaxPoolGradientCase {
  static constexpr GradientOperation kOperation = GradientOperation::max_pool2d_gradient;

  Extents<4> in{};
  ConvGeometry geometry = {};
  double amplitude = 1;  ///< of the input; 0: all are the largest, and the first of them counts
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    return (label.empty() ? "" : label + "/") + extents_name(in) + geometry_name(geometry) +
           (amplitude == 0 ? "_constant" : "");
  }
  bool exact() const { return false; }

  template <TrainingBackend B>
  std::function<void()> bind(GradientOperands<B>& operands) const {
    // All values are negative: padding must not count as zero.
    const auto image = operands.input(in, Values{1, amplitude, -2});
    const auto gradient = operands.input(convolved(in, geometry, in[3]), Values{2});
    const auto image_gradient = operands.grown(in);
    return [&backend = operands.backend(), image, shape = geometry, gradient, image_gradient] {
      backend.max_pool2d_gradient(image, shape, gradient, image_gradient);
    };
  }
};

inline std::vector<AccumulateGemmCase> accumulate_gemm_cases() {
  std::vector<AccumulateGemmCase> cases;
  const MatrixForm inputs[] = {kRows,         kGapRows, kColumns,       kGapColumns, kHeads,
                               kHeadsColumns, kSpread,  kSpreadColumns, kShared};
  for (const MatrixForm& form : inputs) {
    cases.push_back({.batch = 3, .m = 13, .n = 18, .k = 21, .a = form, .b = kGapRows});
    cases.push_back({.batch = 3, .m = 14, .n = 18, .k = 21, .a = kColumns, .b = form});
  }
  for (const MatrixForm& out :
       {kGapRows, kColumns, kGapColumns, kHeads, kHeadsColumns, kSpread, kSpreadColumns}) {
    cases.push_back({.batch = 2, .m = 13, .n = 18, .k = 21, .out = out, .scale = 0.5F});
    cases.push_back(
        {.batch = 2, .m = 25, .n = 34, .k = 400, .a = kHeads, .b = kColumns, .out = out});
  }
  // One row, one column, one product, in every combination.
  for (int which = 0; which < 8; ++which) {
    const Index m = (which & 1) != 0 ? 1 : 37;
    const Index n = (which & 2) != 0 ? 1 : 41;
    const Index k = (which & 4) != 0 ? 1 : 43;
    cases.push_back({.batch = 2, .m = m, .n = n, .k = k});
    cases.push_back({.batch = 2, .m = m, .n = n, .k = k, .b = kHeads, .out = kSpreadColumns});
  }
  // Going back through the decoder's attention: from the scores to queries and keys, from the
  // mixture to weights and values; and from the masks to their kernels and to the image. What the
  // tape kept lies in rows, and is read turned round.
  const std::vector<AccumulateGemmCase> decoder = {
      {.batch = 8,
       .m = 7,
       .n = 16,
       .k = 4096,
       .b = kColumns,
       .out = kHeads,
       .scale = 0.25F,
       .label = "token_queries"},
      {.batch = 8,
       .m = 16,
       .n = 4096,
       .k = 7,
       .a = kColumns,
       .out = kHeadsColumns,
       .scale = 0.25F,
       .label = "token_keys"},
      {.batch = 8,
       .m = 7,
       .n = 4096,
       .k = 16,
       .a = kHeads,
       .b = kColumns,
       .label = "token_weights"},
      {.batch = 8,
       .m = 4096,
       .n = 16,
       .k = 7,
       .a = kColumns,
       .b = kHeads,
       .out = kHeads,
       .label = "token_values"},
      {.batch = 1, .m = 4, .n = 32, .k = 65536, .b = kColumns, .label = "mask_kernels"},
      {.batch = 1,
       .m = 32,
       .n = 65536,
       .k = 4,
       .a = kColumns,
       .out = kColumns,
       .label = "masks",
       .heavy = true},
  };
  cases.insert(cases.end(), decoder.begin(), decoder.end());
  return cases;
}

inline std::vector<ConvWeightGradientCase> conv_weight_gradient_cases() {
  return {
      {.in = {1, 1, 1, 1}},
      {.in = {1, 1, 1, 1}, .outputs = 3, .geometry = {3, 2, 1}},
      // Matrices, as for linear layers: one row, one input, one output, and more than a block.
      {.in = {1, 1, 1, 50}, .outputs = 35},
      {.in = {1, 1, 29, 1}, .outputs = 35},
      {.in = {1, 1, 29, 50}, .outputs = 1},
      {.in = {1, 1, 29, 50}, .outputs = 35, .scale = 0.5F},
      {.in = {1, 1, 385, 50}, .outputs = 35},
      {.in = {1, 1, 13, 300}, .outputs = 200},
      {.in = {3, 7, 9, 17}, .outputs = 19},
      {.in = {3, 7, 9, 5}, .outputs = 19, .geometry = {3, 1, 1}},
      {.in = {2, 7, 9, 5}, .outputs = 33, .geometry = {3, 1, 0}, .scale = -2.0F},
      {.in = {2, 9, 7, 5}, .outputs = 19, .geometry = {3, 2, 1}},
      {.in = {2, 8, 10, 16}, .outputs = 8, .geometry = {3, 2, 1}},
      {.in = {1, 9, 7, 3}, .outputs = 7, .geometry = {1, 2, 0}},
      {.in = {2, 8, 6, 3}, .outputs = 7, .geometry = {2, 2, 0}},
      {.in = {1, 9, 6, 4}, .outputs = 5, .geometry = {3, 3, 0}},
      {.in = {1, 6, 7, 9}, .outputs = 6, .geometry = {5, 3, 4}},
      {.in = {1, 1, 20, 8}, .outputs = 9, .geometry = {3, 2, 1}},
      {.in = {1, 20, 1, 1}, .outputs = 9, .geometry = {3, 1, 1}},
      // Enough of everything for Winograd's way: odd images, every padding, images and channels
      // that do not make whole blocks.
      {.in = {3, 21, 19, 33}, .outputs = 37, .geometry = {3, 1, 1}, .scale = 0.5F},
      {.in = {1, 33, 34, 257}, .outputs = 32, .geometry = {3, 1, 0}},
      {.in = {5, 18, 15, 32}, .outputs = 45, .geometry = {3, 1, 2}},
      {.in = {3, 38, 37, 32}, .outputs = 32, .geometry = {3, 1, 1}},
      {.in = {1, 1, 56, 256}, .outputs = 256, .label = "decoder_tokens"},
      {.in = {1, 32, 32, 64}, .outputs = 128, .geometry = {3, 2, 1}, .label = "resnet_layer2"},
      {.in = {1, 16, 16, 128}, .outputs = 256, .geometry = {1, 2, 0}, .label = "resnet_shortcut"},
      {.in = {1, 1, 56, 256}, .outputs = 2048, .label = "decoder_mlp", .heavy = true},
      {.in = {1, 64, 64, 256}, .outputs = 128, .label = "decoder_keys", .heavy = true},
      {.in = {1, 128, 128, 64},
       .outputs = 256,
       .geometry = {2, 2, 0},
       .label = "decoder_upscale1",
       .heavy = true},
      {.in = {1, 256, 256, 32},
       .outputs = 64,
       .geometry = {2, 2, 0},
       .label = "decoder_upscale2",
       .heavy = true},
      {.in = {1, 64, 64, 256},
       .outputs = 64,
       .geometry = {3, 1, 1},
       .label = "resnet_stem",
       .heavy = true},
      {.in = {8, 4, 4, 512},
       .outputs = 512,
       .geometry = {3, 1, 1},
       .label = "resnet_layer4",
       .heavy = true},
      {.in = {1, 64, 64, 768},
       .outputs = 256,
       .geometry = {3, 1, 1},
       .label = "apm_fusion",
       .heavy = true},
  };
}

inline std::vector<DepthwiseGradientCase> depthwise_gradient_cases() {
  return {
      {.in = {1, 1, 1, 1}},
      {.in = {1, 1, 1, 1}, .geometry = {3, 1, 1}},
      {.in = {3, 7, 9, 5}, .geometry = {3, 1, 1}},
      {.in = {3, 7, 9, 5}, .geometry = {3, 1, 1}, .wanted = Wanted::first},
      {.in = {3, 7, 9, 5}, .geometry = {3, 1, 1}, .wanted = Wanted::second},
      {.in = {2, 9, 7, 16}, .geometry = {3, 2, 1}},
      {.in = {2, 8, 10, 17}, .geometry = {3, 2, 1}},
      {.in = {1, 8, 6, 33}, .geometry = {3, 1, 0}},
      {.in = {1, 8, 6, 40}, .geometry = {2, 2, 0}},
      {.in = {1, 1, 20, 8}, .geometry = {3, 2, 1}},
      {.in = {1, 20, 1, 8}, .geometry = {5, 3, 4}},
      {.in = {1, 20, 20, 48}, .geometry = {3, 1, 1}},
  };
}

inline std::vector<MaxPoolGradientCase> max_pool_gradient_cases() {
  return {
      {.in = {1, 1, 1, 1}},
      {.in = {1, 1, 1, 3}, .geometry = {3, 2, 1}},
      {.in = {3, 9, 7, 5}, .geometry = {3, 2, 1}},
      {.in = {1, 8, 6, 17}, .geometry = {2, 2, 0}},
      {.in = {2, 7, 9, 16}, .geometry = {2, 2, 0}},
      {.in = {1, 6, 7, 9}, .geometry = {3, 1, 1}},
      {.in = {1, 6, 7, 9}, .geometry = {5, 3, 4}},
      {.in = {1, 1, 20, 8}, .geometry = {3, 2, 1}},
      {.in = {1, 20, 1, 8}, .geometry = {3, 2, 1}},
      {.in = {2, 6, 7, 9}, .geometry = {2, 2, 0}, .amplitude = 0},
      {.in = {2, 6, 7, 9}, .geometry = {3, 2, 1}, .amplitude = 0},
      {.in = {1, 64, 64, 64}, .geometry = {3, 2, 1}, .label = "resnet_stem"},
  };
}

}  // namespace promiseg::conformance
