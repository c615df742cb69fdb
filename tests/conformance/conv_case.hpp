// The three convolutions.
#pragma once

#include <string>
#include <vector>

#include "epilogue_spec.hpp"
#include "operation.hpp"

namespace promiseg::conformance {

/// "2x9x7x3"
inline std::string extents_name(const Extents<4>& extents) {
  return std::to_string(extents[0]) + "x" + std::to_string(extents[1]) + "x" +
         std::to_string(extents[2]) + "x" + std::to_string(extents[3]);
}

inline std::string geometry_name(ConvGeometry geometry) {
  return "_k" + std::to_string(geometry.kernel) + "_s" + std::to_string(geometry.stride) + "_p" +
         std::to_string(geometry.padding);
}

/// The output of a convolution of `in`, with `channels` channels.
inline Extents<4> convolved(const Extents<4>& in, ConvGeometry geometry, Index channels) {
  return {in[0], geometry.output(in[1]), geometry.output(in[2]), channels};
}

struct Conv2dCase {
  static constexpr Operation kOperation = Operation::conv2d;

  Extents<4> in{};
  Index outputs = 1;
  ConvGeometry geometry = {};
  EpilogueSpec epilogue = {};
  Extents<4> in_gaps{};  ///< the input is a part of a larger image
  std::string label = {};
  bool heavy = false;

  Index inputs() const { return geometry.kernel * geometry.kernel * in[3]; }
  Extents<4> out() const { return convolved(in, geometry, outputs); }

  std::string name() const {
    return (label.empty() ? "" : label + "/") + extents_name(in) + "_n" + std::to_string(outputs) +
           geometry_name(geometry) + epilogue.name() + (in_gaps != Extents<4>{} ? "_in_gap" : "");
  }

  Work work() const {
    const auto size = static_cast<double>(element_count(out()));
    const auto taps = static_cast<double>(inputs());
    const auto channels = static_cast<double>(outputs);
    return {2 * size * taps, 4 * (static_cast<double>(element_count(in)) + taps * channels +
                                  epilogue.values(size, channels))};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const Conv2dCase& shape, Position position) {
  struct Operands : EpilogueOperands<4> {
    DeviceArray<4> in;
    typename B::PackedMatrix weights;
    ConvGeometry geometry;
  };
  const auto weights = HostArray<2>::input({shape.outputs, shape.inputs()}, {},
                                           {2, weight_amplitude(shape.inputs())}, position);
  auto operands = std::make_shared<Operands>(
      Operands{EpilogueOperands<4>(backend, shape.epilogue, shape.out(), {}, {}, position),
               make_input(backend, shape.in, Form<4>{.gaps = shape.in_gaps}, Values{1}, position),
               pack_conv(backend, weights.view(), shape.geometry), shape.geometry});
  return make_prepared(backend, operands, [&backend](const Operands& o) {
    backend.conv2d(o.in.view(), o.weights, o.geometry, o.epilogue(), o.out.view());
  });
}

struct DepthwiseCase {
  static constexpr Operation kOperation = Operation::depthwise_conv2d;

  Extents<4> in{};
  ConvGeometry geometry = {};
  EpilogueSpec epilogue = {};
  std::string label = {};
  bool heavy = false;

  Extents<4> out() const { return convolved(in, geometry, in[3]); }

  std::string name() const {
    return (label.empty() ? "" : label + "/") + extents_name(in) + geometry_name(geometry) +
           epilogue.name();
  }

  Work work() const {
    const auto size = static_cast<double>(element_count(out()));
    const auto taps = static_cast<double>(geometry.kernel * geometry.kernel);
    const auto channels = static_cast<double>(in[3]);
    return {2 * size * taps, 4 * (static_cast<double>(element_count(in)) + taps * channels +
                                  epilogue.values(size, channels))};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const DepthwiseCase& shape, Position position) {
  struct Operands : EpilogueOperands<4> {
    DeviceArray<4> in;
    DeviceArray<3> weights;
    ConvGeometry geometry;
  };
  const Index kernel = shape.geometry.kernel;
  auto operands = std::make_shared<Operands>(
      Operands{EpilogueOperands<4>(backend, shape.epilogue, shape.out(), {}, {}, position),
               make_input<B, 4>(backend, shape.in, {}, {1}, position),
               make_input<B, 3>(backend, {kernel, kernel, shape.in[3]}, {},
                                {2, weight_amplitude(kernel * kernel)}, position),
               shape.geometry});
  return make_prepared(backend, operands, [&backend](const Operands& o) {
    backend.depthwise_conv2d(o.in.view(), o.weights.view(), o.geometry, o.epilogue(), o.out.view());
  });
}

struct ConvTransposeCase {
  static constexpr Operation kOperation = Operation::conv_transpose2d;

  Extents<4> in{};
  Index outputs = 1;
  Index kernel = 1;
  bool bias = true;
  Activation activation = Activation::none;
  std::string label = {};
  bool heavy = false;

  Extents<4> out() const { return {in[0], in[1] * kernel, in[2] * kernel, outputs}; }

  std::string name() const {
    return (label.empty() ? "" : label + "/") + extents_name(in) + "_n" + std::to_string(outputs) +
           "_k" + std::to_string(kernel) +
           EpilogueSpec{.bias = bias, .activation = activation}.name();
  }

  Work work() const {
    const auto size = static_cast<double>(element_count(out()));
    const auto channels = static_cast<double>(in[3]);
    const auto weights = static_cast<double>(kernel * kernel * outputs) * channels;
    return {2 * size * channels, 4 * (static_cast<double>(element_count(in)) + weights + size)};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const ConvTransposeCase& shape, Position position) {
  struct Operands {
    DeviceArray<4> in;
    typename B::PackedMatrix weights;
    DeviceArray<1> bias;
    Destination<4> out;
  };
  const Extents<2> matrix{shape.kernel * shape.kernel * shape.outputs, shape.in[3]};
  const auto weights =
      HostArray<2>::input(matrix, {}, {2, weight_amplitude(shape.in[3])}, position);
  auto operands = std::make_shared<Operands>(
      Operands{make_input<B, 4>(backend, shape.in, {}, {1}, position),
               backend.pack(weights.view()),
               {},
               Destination<4>(backend, HostArray<4>::output(shape.out(), {}, position))});
  if (shape.bias) operands->bias = make_input<B, 1>(backend, {shape.outputs}, {}, {3}, position);
  return make_prepared(
      backend, operands,
      [&backend, kernel = shape.kernel, activation = shape.activation](const Operands& o) {
        backend.conv_transpose2d(o.in.view(), o.weights, kernel, o.bias.view(), activation,
                                 o.out.view());
      });
}

inline std::vector<Conv2dCase> conv2d_cases() {
  constexpr EpilogueSpec kBias{.bias = true};
  std::vector<Conv2dCase> cases = {
      {.in = {1, 1, 1, 1}, .outputs = 1},
      {.in = {1, 1, 1, 1}, .outputs = 1, .geometry = {3, 1, 1}},
      {.in = {1, 5, 7, 3}, .outputs = 4},
      {.in = {2, 9, 7, 3}, .outputs = 17, .geometry = {3, 1, 1}},
      {.in = {1, 9, 7, 16}, .outputs = 32, .geometry = {3, 1, 0}, .epilogue = kBias},
      {.in = {1, 9, 8, 5}, .outputs = 33, .geometry = {3, 2, 1}, .epilogue = kBias},
      {.in = {1, 8, 8, 5}, .outputs = 15, .geometry = {2, 2, 0}},
      {.in = {2, 11, 13, 3}, .outputs = 16, .geometry = {5, 2, 2}, .epilogue = kBias},
      {.in = {1, 12, 10, 3}, .outputs = 31, .geometry = {7, 2, 3}},
      {.in = {1, 7, 9, 2}, .outputs = 3, .geometry = {3, 3, 0}},
      {.in = {1, 6, 5, 2}, .outputs = 3, .geometry = {3, 1, 2}},
      {.in = {1, 4, 4, 3}, .outputs = 2, .geometry = {1, 2, 0}},
      {.in = {1, 1, 20, 4}, .outputs = 9, .geometry = {3, 1, 1}, .epilogue = kBias},
      {.in = {1, 20, 1, 4}, .outputs = 9, .geometry = {3, 1, 1}, .epilogue = kBias},
      {.in = {3, 2, 3, 130}, .outputs = 7, .geometry = {3, 1, 1}, .epilogue = kBias},
      {.in = {1, 48, 32, 3}, .outputs = 48, .geometry = {16, 16, 0}, .epilogue = kBias},
      {.in = {2, 6, 5, 64}, .outputs = 24, .geometry = {1, 1, 0}, .epilogue = kBias},
      {.in = {1, 9, 7, 5}, .outputs = 8, .geometry = {3, 1, 1}, .in_gaps = {0, 2, 1, 3}},
      {.in = {2, 9, 7, 5}, .outputs = 8, .geometry = {3, 2, 1}, .in_gaps = {1, 0, 3, 0}},
  };
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    for (const Residual residual : {Residual::none, Residual::separate, Residual::in_place}) {
      for (const Index outputs : {19, 37}) {  // the second wide enough for Winograd's way
        cases.push_back({.in = {2, 5, 7, 48},
                         .outputs = outputs,
                         .geometry = {3, 1, 1},
                         .epilogue = {true, residual, activation, 0.5F}});
      }
    }
  }
  // As wide: every padding, odd and even images, of one pixel too, long sums, gaps, many patches.
  for (const Index padding : {0, 1, 2, 3}) {
    for (const Extents<4>& in : {Extents<4>{1, 4, 3, 33}, Extents<4>{2, 3, 6, 40}}) {
      cases.push_back({.in = in, .outputs = 32, .geometry = {3, 1, padding}, .epilogue = kBias});
    }
  }
  cases.push_back({.in = {1, 1, 1, 32}, .outputs = 64, .geometry = {3, 1, 1}});
  cases.push_back({.in = {1, 3, 5, 900}, .outputs = 256, .geometry = {3, 1, 1}});
  cases.push_back(
      {.in = {1, 9, 7, 35}, .outputs = 96, .geometry = {3, 1, 1}, .in_gaps = {0, 2, 1, 3}});
  cases.push_back({.in = {2, 19, 21, 36}, .outputs = 70, .geometry = {3, 1, 1}, .epilogue = kBias});
  const auto heavy = [&](const char* label, Extents<4> in, Index outputs, ConvGeometry geometry,
                         EpilogueSpec epilogue) {
    cases.push_back({.in = in,
                     .outputs = outputs,
                     .geometry = geometry,
                     .epilogue = epilogue,
                     .label = label,
                     .heavy = true});
  };
  heavy("vit_b_patch_embed", {1, 1024, 1024, 3}, 768, {16, 16, 0}, kBias);
  heavy("vit_b_neck1", {1, 64, 64, 768}, 256, {1, 1, 0}, {});
  heavy("neck2", {1, 64, 64, 256}, 256, {3, 1, 1}, {});
  heavy("apm_fusion1", {1, 64, 64, 2304}, 256, {3, 1, 1}, kBias);
  return cases;
}

inline std::vector<DepthwiseCase> depthwise_cases() {
  constexpr EpilogueSpec kBias{.bias = true};
  constexpr EpilogueSpec kGelu{.bias = true, .activation = Activation::gelu};
  std::vector<DepthwiseCase> cases;
  for (const Index channels : {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64}) {
    cases.push_back({.in = {1, 6, 7, channels}, .geometry = {3, 1, 1}, .epilogue = kBias});
  }
  const std::vector<DepthwiseCase> others = {
      {.in = {1, 1, 1, 5}, .geometry = {3, 1, 1}},
      {.in = {2, 9, 8, 20}, .geometry = {3, 2, 1}, .epilogue = kGelu},
      {.in = {2, 8, 9, 20}, .geometry = {3, 2, 1}},
      {.in = {2, 5, 19, 20}, .geometry = {3, 2, 1}, .epilogue = kGelu},
      {.in = {1, 9, 9, 12}, .geometry = {5, 1, 2}},
      {.in = {1, 11, 9, 12}, .geometry = {7, 1, 3}, .epilogue = kBias},
      {.in = {1, 9, 9, 12}, .geometry = {5, 3, 0}},
      {.in = {1, 2, 3, 9}, .geometry = {5, 1, 2}},
      {.in = {1, 9, 9, 12}, .geometry = {2, 2, 0}},
      {.in = {1, 5, 6, 12}, .geometry = {1, 1, 0}},
      {.in = {1, 18, 17, 3}, .geometry = {16, 1, 0}},
      {.in = {3, 1, 30, 10}, .geometry = {3, 1, 1}},
      {.in = {3, 30, 1, 10}, .geometry = {3, 1, 1}},
      {.in = {1, 4, 4, 6}, .geometry = {3, 1, 2}},
  };
  cases.insert(cases.end(), others.begin(), others.end());
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    for (const Residual residual : {Residual::none, Residual::separate, Residual::in_place}) {
      cases.push_back({.in = {2, 5, 6, 21},
                       .geometry = {3, 1, 1},
                       .epilogue = {residual != Residual::none, residual, activation, 0.5F}});
    }
  }
  const auto heavy = [&](const char* label, Extents<4> in, ConvGeometry geometry,
                         EpilogueSpec epilogue) {
    cases.push_back(
        {.in = in, .geometry = geometry, .epilogue = epilogue, .label = label, .heavy = true});
  };
  heavy("litemedsam_mbconv", {1, 256, 256, 256}, {3, 1, 1}, kGelu);
  heavy("litemedsam_merging", {1, 256, 256, 128}, {3, 2, 1}, kGelu);
  heavy("litemedsam_local1", {1, 128, 128, 128}, {3, 1, 1}, kBias);
  heavy("litemedsam_local3", {1, 64, 64, 320}, {3, 1, 1}, kBias);
  return cases;
}

inline std::vector<ConvTransposeCase> conv_transpose_cases() {
  constexpr Activation kGelu = Activation::gelu;
  return {
      {.in = {1, 1, 1, 1}, .outputs = 1, .kernel = 1},
      {.in = {1, 1, 1, 3}, .outputs = 2, .kernel = 2, .bias = false},
      {.in = {1, 5, 7, 6}, .outputs = 4, .kernel = 1},
      {.in = {1, 5, 7, 6}, .outputs = 5, .kernel = 2},
      {.in = {2, 4, 3, 17}, .outputs = 8, .kernel = 2, .activation = kGelu},
      {.in = {3, 3, 4, 9}, .outputs = 7, .kernel = 2, .activation = Activation::relu},
      {.in = {2, 3, 5, 33}, .outputs = 3, .kernel = 3, .bias = false},
      {.in = {1, 3, 2, 16}, .outputs = 16, .kernel = 4},
      {.in = {1, 1, 30, 10}, .outputs = 6, .kernel = 2},
      {.in = {1, 30, 1, 10}, .outputs = 1, .kernel = 2, .activation = kGelu},
      {.in = {1, 4, 4, 500}, .outputs = 9, .kernel = 2, .activation = kGelu},
      {.in = {1, 64, 64, 256}, .outputs = 64, .kernel = 2, .label = "upscale1", .heavy = true},
      {.in = {1, 128, 128, 64},
       .outputs = 32,
       .kernel = 2,
       .activation = kGelu,
       .label = "upscale2",
       .heavy = true},
  };
}

}  // namespace promiseg::conformance
