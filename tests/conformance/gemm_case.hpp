// Products by packed weights, and the packing itself.
#pragma once

#include <string>
#include <vector>

#include "epilogue_spec.hpp"
#include "operation.hpp"
#include "promiseg/nn/parameter.hpp"

namespace promiseg::conformance {

/// out [rows, outputs] = epilogue(in [rows, inputs] x weights [outputs, inputs]^T)
struct GemmCase {
  static constexpr Operation kOperation = Operation::gemm;

  Index rows = 1;
  Index outputs = 1;
  Index inputs = 1;
  EpilogueSpec epilogue = {};
  Index in_gap = 0;  ///< between rows, as of the two below
  Index out_gap = 0;
  Index residual_gap = 0;
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    std::string text = label.empty() ? "" : label + "/";
    text += "m" + std::to_string(rows) + "_n" + std::to_string(outputs) + "_k" +
            std::to_string(inputs) + epilogue.name();
    if (in_gap > 0) text += "_in_gap";
    if (out_gap > 0) text += "_out_gap";
    if (residual_gap > 0) text += "_residual_gap";
    return text;
  }

  Work work() const {
    const auto m = static_cast<double>(rows);
    const auto n = static_cast<double>(outputs);
    const auto k = static_cast<double>(inputs);
    return {2 * m * n * k, 4 * (m * k + n * k + epilogue.values(m * n, n))};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const GemmCase& shape, Position position) {
  struct Operands : EpilogueOperands<2> {
    DeviceArray<2> in;
    typename B::PackedMatrix weights;
  };
  const Extents<2> in{shape.rows, shape.inputs};
  const Extents<2> out{shape.rows, shape.outputs};
  const auto weights = HostArray<2>::input({shape.outputs, shape.inputs}, {},
                                           {2, weight_amplitude(shape.inputs)}, position);
  const auto gap = [](Index columns) { return Form<2>{.gaps = {0, columns}}; };
  auto operands = std::make_shared<Operands>(
      Operands{EpilogueOperands<2>(backend, shape.epilogue, out, gap(shape.out_gap),
                                   gap(shape.residual_gap), position),
               make_input(backend, in, gap(shape.in_gap), Values{1}, position),
               backend.pack(weights.view())});
  return make_prepared(backend, operands, [&backend](const Operands& o) {
    backend.gemm(o.in.view(), o.weights, o.epilogue(), o.out.view());
  });
}

/// Packs weights [outputs, inputs]; what was packed is read back by a product with the identity,
/// which is exact.
struct PackCase {
  static constexpr Operation kOperation = Operation::pack;

  Index outputs = 1;
  Index inputs = 1;
  Form<2> form = {};
  std::string form_name = "rows";
  bool heavy = false;

  std::string name() const {
    return "n" + std::to_string(outputs) + "_k" + std::to_string(inputs) + "_" + form_name;
  }

  Work work() const { return {0, 8.0 * static_cast<double>(outputs * inputs)}; }
};

template <Backend B>
PreparedCase prepare(B& backend, const PackCase& shape, Position position) {
  struct Operands {
    HostArray<2> weights;
    nn::Parameter<2> identity;
    typename B::PackedMatrix packed;
    Destination<2> out;
  };
  Tensor<float, 2> identity(Extents<2>{shape.inputs, shape.inputs});
  for (Index i = 0; i < shape.inputs; ++i) identity.view()(i, i) = 1;
  auto weights =
      HostArray<2>::input({shape.outputs, shape.inputs}, shape.form, Values{2}, position);
  auto packed = backend.pack(weights.view());
  auto operands = std::make_shared<Operands>(Operands{
      std::move(weights), nn::Parameter<2>(backend, identity.view()), std::move(packed),
      Destination<2>(backend, HostArray<2>::output({shape.inputs, shape.outputs}, {}, position))});
  PreparedCase prepared = make_prepared(
      backend, operands, [&backend](Operands& o) { o.packed = backend.pack(o.weights.view()); });
  prepared.read = [&backend, operands, read = prepared.read] {
    backend.gemm(operands->identity.view(), operands->packed, {}, operands->out.view());
    return read();
  };
  return prepared;
}

/// Every combination of what an epilogue can have, on one shape.
inline void add_epilogue_cases(GemmCase shape, std::vector<GemmCase>& cases) {
  for (const bool bias : {false, true}) {
    for (const Residual residual : {Residual::none, Residual::separate, Residual::in_place}) {
      for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
        shape.epilogue = {bias, residual, activation, shape.epilogue.scale};
        cases.push_back(shape);
      }
    }
  }
}

inline std::vector<GemmCase> gemm_cases() {
  constexpr EpilogueSpec kNone{};
  constexpr EpilogueSpec kBias{.bias = true};
  constexpr EpilogueSpec kGelu{.bias = true, .activation = Activation::gelu};
  constexpr EpilogueSpec kRelu{.bias = true, .activation = Activation::relu};
  constexpr EpilogueSpec kAdd{.bias = true, .residual = Residual::in_place};
  constexpr EpilogueSpec kSeparate{.bias = true, .residual = Residual::separate};
  std::vector<GemmCase> cases;
  // One part of the sum, and several.
  add_epilogue_cases({.rows = 37, .outputs = 45, .inputs = 50}, cases);
  add_epilogue_cases({.rows = 19, .outputs = 35, .inputs = 800, .epilogue = {.scale = 0.75F}},
                     cases);
  // Around the edges of tiles (6 or 12 rows, 8, 16 or 32 columns), of blocks of them, and of parts
  // of the sum (384).
  for (const Index m : {1, 5, 6, 7, 11, 12, 13, 95, 96, 97, 192, 193}) {
    cases.push_back({.rows = m, .outputs = 33, .inputs = 70});
  }
  for (const Index n : {1, 7, 8, 9, 15, 16, 17, 31, 32, 64, 65}) {
    cases.push_back({.rows = 13, .outputs = n, .inputs = 70, .epilogue = kSeparate});
  }
  for (const Index k : {1, 2, 3, 383, 384, 385, 768, 769, 1537}) {
    cases.push_back({.rows = 13, .outputs = 33, .inputs = k, .epilogue = kBias});
  }
  for (const Index n : {1, 16, 31}) cases.push_back({.rows = 1, .outputs = n, .inputs = 1});
  cases.push_back({.rows = 1, .outputs = 1, .inputs = 1000, .epilogue = kGelu});
  cases.push_back({.rows = 401, .outputs = 47, .inputs = 20, .epilogue = kAdd});
  cases.push_back({.rows = 3, .outputs = 1030, .inputs = 33, .epilogue = kRelu});
  cases.push_back({.rows = 200, .outputs = 200, .inputs = 100, .epilogue = kSeparate});
  // Rows that are parts of longer rows.
  cases.push_back({.rows = 29, .outputs = 35, .inputs = 50, .in_gap = 3});
  cases.push_back({.rows = 29, .outputs = 35, .inputs = 50, .out_gap = 5});
  cases.push_back(
      {.rows = 29, .outputs = 35, .inputs = 50, .epilogue = kSeparate, .residual_gap = 7});
  cases.push_back({.rows = 29, .outputs = 32, .inputs = 500, .epilogue = kAdd, .out_gap = 1});
  cases.push_back({.rows = 29,
                   .outputs = 35,
                   .inputs = 500,
                   .epilogue = kSeparate,
                   .in_gap = 1,
                   .out_gap = 3,
                   .residual_gap = 2});
  // The mask decoder's: few tokens.
  cases.push_back(
      {.rows = 7, .outputs = 128, .inputs = 256, .epilogue = kBias, .label = "decoder_token_q"});
  cases.push_back(
      {.rows = 7, .outputs = 2048, .inputs = 256, .epilogue = kRelu, .label = "decoder_mlp1"});
  cases.push_back(
      {.rows = 7, .outputs = 256, .inputs = 2048, .epilogue = kAdd, .label = "decoder_mlp2"});
  cases.push_back(
      {.rows = 1, .outputs = 32, .inputs = 256, .epilogue = kBias, .label = "hypernetwork"});

  const auto heavy = [&](const char* label, Index m, Index n, Index k, EpilogueSpec epilogue) {
    cases.push_back({.rows = m,
                     .outputs = n,
                     .inputs = k,
                     .epilogue = epilogue,
                     .label = label,
                     .heavy = true});
  };
  heavy("decoder_image_k", 4096, 128, 256, kBias);
  heavy("vit_b_qkv", 4096, 2304, 768, kBias);
  heavy("vit_b_projection", 4096, 768, 768, kAdd);
  heavy("vit_b_mlp1", 4096, 3072, 768, kGelu);
  heavy("vit_b_mlp2", 4096, 768, 3072, kAdd);
  heavy("vit_h_qkv", 4096, 3840, 1280, kBias);
  heavy("litemedsam_patch_embed1", 65536, 32, 3, kGelu);
  heavy("litemedsam_expand", 65536, 256, 64, kGelu);
  heavy("litemedsam_project", 65536, 64, 256,
        {.bias = true, .residual = Residual::in_place, .activation = Activation::gelu});
  heavy("litemedsam_stage1_qkv", 16384, 384, 128, kBias);
  heavy("litemedsam_stage3_mlp2", 4096, 320, 1280, kAdd);
  heavy("square", 1024, 1024, 1024, kNone);
  return cases;
}

inline std::vector<PackCase> pack_cases() {
  const Form<2> gap{.gaps = {0, 3}};
  const Form<2> transposed{.order = {1, 0}};
  const Form<2> spread{.spread = 2};
  return {{1, 1},
          {1, 40},
          {40, 1},
          {16, 16},
          {31, 5},
          {33, 400},
          {33, 40, gap, "gap"},
          {33, 40, transposed, "transposed"},
          {17, 23, spread, "spread"},
          {2304, 768, {}, "rows", true}};
}

}  // namespace promiseg::conformance
