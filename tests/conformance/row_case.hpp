// Primitives that work on rows: layer normalisation and softmax.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "operation.hpp"
#include "prepared_case.hpp"

namespace promiseg::conformance {

struct LayerNormCase {
  static constexpr Operation kOperation = Operation::layer_norm;

  Index rows = 1;
  Index channels = 1;
  Activation activation = Activation::none;
  bool in_place = false;
  Index in_gap = 0;  ///< between rows
  Index out_gap = 0;
  double amplitude = 1;  ///< of the input, around `offset`
  double offset = 0;
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    std::string text = label.empty() ? "" : label + "/";
    text += std::to_string(rows) + "x" + std::to_string(channels);
    if (activation == Activation::relu) text += "_relu";
    if (activation == Activation::gelu) text += "_gelu";
    if (in_place) text += "_inplace";
    if (in_gap > 0) text += "_in_gap";
    if (out_gap > 0) text += "_out_gap";
    if (amplitude == 0) text += "_constant";
    if (amplitude > 1) text += "_large";
    if (offset != 0) text += "_offset";
    return text;
  }

  /// Two passes for mean and variance, four operations to normalise.
  Work work() const {
    const auto size = static_cast<double>(rows * channels);
    return {8 * size, 8 * size + 8 * static_cast<double>(channels)};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const LayerNormCase& shape, Position position) {
  struct Operands {
    DeviceArray<2> in;  ///< empty: in place
    DeviceArray<1> gamma;
    DeviceArray<1> beta;
    Activation activation;
    Destination<2> out;
  };
  constexpr float kEpsilon = 1e-6F;
  const Extents<2> extents{shape.rows, shape.channels};
  const Form<2> in_form{.gaps = {0, shape.in_gap}};
  const Form<2> out_form{.gaps = {0, shape.out_gap}};
  const Values values{1, shape.amplitude, shape.offset};
  auto operands = std::make_shared<Operands>(Operands{
      shape.in_place ? DeviceArray<2>() : make_input(backend, extents, in_form, values, position),
      make_input<B, 1>(backend, {shape.channels}, {}, {2, 0.5, 1.0}, position),
      make_input<B, 1>(backend, {shape.channels}, {}, {3, 0.5}, position), shape.activation,
      Destination<2>(backend, shape.in_place
                                  ? HostArray<2>::in_place(extents, out_form, values, position)
                                  : HostArray<2>::output(extents, out_form, position))});
  return make_prepared(backend, operands, [&backend](const Operands& o) {
    const auto in = o.in.view().data() != nullptr ? o.in.view() : o.out.view();
    backend.layer_norm(in, o.gamma.view(), o.beta.view(), kEpsilon, o.activation, o.out.view());
  });
}

/// Softmax of rows, in place.
struct SoftmaxCase {
  static constexpr Operation kOperation = Operation::softmax;

  Index rows = 1;
  Index columns = 1;
  Index gap = 0;  ///< between rows
  double amplitude = 3;
  double offset = 0;
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    std::ostringstream text;
    if (!label.empty()) text << label << '/';
    text << rows << 'x' << columns;
    if (gap > 0) text << "_gap";
    if (amplitude == 0) text << "_constant";
    if (amplitude > 3) text << "_by" << amplitude;
    if (offset != 0) text << (offset > 0 ? "_raised" : "_lowered");
    return text.str();
  }

  /// A maximum, a difference, an exponential counted as one, a sum, a product.
  Work work() const {
    const auto size = static_cast<double>(rows * columns);
    return {5 * size, 8 * size};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const SoftmaxCase& shape, Position position) {
  struct Operands {
    Destination<2> out;
  };
  auto operands = std::make_shared<Operands>(Operands{Destination<2>(
      backend, HostArray<2>::in_place({shape.rows, shape.columns}, {.gaps = {0, shape.gap}},
                                      {1, shape.amplitude, shape.offset}, position))});
  return make_prepared(backend, operands,
                       [&backend](const Operands& o) { backend.softmax(o.out.view()); });
}

inline std::vector<LayerNormCase> layer_norm_cases() {
  std::vector<LayerNormCase> cases;
  for (const Index channels : {2, 3, 7, 8, 9, 15, 16, 17, 32, 63, 64, 768, 1280}) {
    cases.push_back({.rows = 5, .channels = channels});
  }
  for (const Index rows : {1, 63, 64, 65, 130}) cases.push_back({.rows = rows, .channels = 33});
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    cases.push_back({.rows = 9, .channels = 37, .activation = activation, .in_place = true});
    cases.push_back({.rows = 9, .channels = 64, .activation = activation, .out_gap = 2});
  }
  const std::vector<LayerNormCase> others = {
      {.rows = 3, .channels = 1},
      {.rows = 9, .channels = 37, .in_gap = 3},
      {.rows = 9, .channels = 37, .in_gap = 1, .out_gap = 4},
      {.rows = 70, .channels = 20, .in_place = true, .out_gap = 4},
      {.rows = 9, .channels = 100, .amplitude = 0, .offset = 5},
      {.rows = 9, .channels = 100, .amplitude = 100},
      {.rows = 9, .channels = 100, .offset = 10},
      {.rows = 4096, .channels = 768, .label = "vit_b", .heavy = true},
      {.rows = 16384, .channels = 128, .label = "litemedsam_stage1", .heavy = true},
      {.rows = 16384,
       .channels = 64,
       .activation = Activation::gelu,
       .in_place = true,
       .label = "upscale",
       .heavy = true},
  };
  cases.insert(cases.end(), others.begin(), others.end());
  return cases;
}

inline std::vector<SoftmaxCase> softmax_cases() {
  std::vector<SoftmaxCase> cases;
  for (const Index columns : {1, 2, 3, 7, 8, 9, 15, 16, 17, 49, 196, 1025}) {
    cases.push_back({.rows = 5, .columns = columns});
  }
  for (const Index rows : {1, 15, 16, 17, 100}) cases.push_back({.rows = rows, .columns = 21});
  const std::vector<SoftmaxCase> others = {
      {.rows = 6, .columns = 45, .gap = 3},
      {.rows = 6, .columns = 16, .gap = 1},
      {.rows = 6, .columns = 45, .amplitude = 0},
      {.rows = 6, .columns = 45, .amplitude = 50},
      {.rows = 6, .columns = 45, .amplitude = 1000},
      {.rows = 6, .columns = 45, .amplitude = 1e30},
      {.rows = 6, .columns = 45, .offset = 1e4},
      {.rows = 6, .columns = 45, .offset = -1e4},
      {.rows = 6, .columns = 1, .amplitude = 1e30},
      {.rows = 56, .columns = 4096, .label = "decoder_tokens"},
      {.rows = 32768, .columns = 7, .label = "decoder_image"},
      {.rows = 2352, .columns = 196, .label = "vit_b_window", .heavy = true},
      {.rows = 4096, .columns = 4096, .label = "global_head", .heavy = true},
  };
  cases.insert(cases.end(), others.begin(), others.end());
  return cases;
}

}  // namespace promiseg::conformance
