// Windowed attention over a grid. A backend without one of its own gets the composition of
// nn/attention.hpp, so the reference does.
#pragma once

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "operation.hpp"
#include "prepared_case.hpp"
#include "promiseg/nn/attention.hpp"

namespace promiseg::conformance {

/// How q, k and v, together [H, W, 3, heads, d], lie in memory.
struct QkvForm {
  const char* name;
  std::array<std::size_t, 5> order;
};

inline constexpr QkvForm kPartsOfHeads{"3hd", {0, 1, 2, 3, 4}};       // SAM's qkv matrix
inline constexpr QkvForm kHeadsOfParts{"h3d", {0, 1, 3, 2, 4}};       // TinyViT's
inline constexpr QkvForm kThreeTensors{"separate", {2, 0, 1, 3, 4}};  // three tensors
inline constexpr QkvForm kHeadsFirst{"headsfirst", {2, 3, 0, 1, 4}};
inline constexpr QkvForm kChannelsOutside{"dh", {0, 1, 2, 4, 3}};  // head channels not adjacent

struct GridAttentionCase {
  static constexpr Operation kOperation = Operation::grid_attention;

  Index height = 1;
  Index width = 1;
  Index heads = 1;
  Index depth = 1;
  Index window = 0;
  bool position = false;
  bool bias = false;
  QkvForm qkv = kPartsOfHeads;
  Index out_gap = 0;    ///< between the heads of the output
  float sharpness = 1;  ///< multiplies the scale of the scores
  std::string label = {};
  bool heavy = false;

  Index window_height() const { return window > 0 ? window : height; }
  Index window_width() const { return window > 0 ? window : width; }

  std::string name() const {
    std::string text = label.empty() ? "" : label + "/";
    text += std::to_string(height) + "x" + std::to_string(width) + "_h" + std::to_string(heads) +
            "_d" + std::to_string(depth) + "_w" + std::to_string(window);
    if (position) text += "_position";
    if (bias) text += "_bias";
    if (out_gap > 0) text += "_out_gap";
    if (sharpness != 1) text += "_sharp" + std::to_string(static_cast<Index>(sharpness));
    return text + "_" + qkv.name;
  }

  /// What has to be computed: nothing for the padding's queries.
  Work work() const {
    const auto queries = static_cast<double>(height * width * heads);
    const auto high = static_cast<double>(window_height());
    const auto wide = static_cast<double>(window_width());
    const auto channels = static_cast<double>(depth);
    const double pairs = queries * high * wide;
    const double flops = 4 * pairs * channels +
                         (position ? 2 * queries * (high + wide) * channels : 0) +
                         5 * pairs;  // the softmax
    const double tables = (position ? (high * high + wide * wide) * channels : 0) +
                          (bias ? static_cast<double>(heads) * high * high * wide * wide : 0);
    return {flops, 4 * (4 * queries * channels + tables)};
  }
};

template <Backend B>
struct GridAttentionOperands {
  nn::Workspace<B> workspace;
  DeviceArray<5> qkv;
  DeviceArray<3> padding;  ///< [3, heads, d] in the order of qkv
  DeviceArray<3> rows;
  DeviceArray<3> columns;
  DeviceArray<3> bias;
  Destination<4> out;
  GridAttention attention;

  GridAttentionOperands(B& backend, const GridAttentionCase& shape, Position position)
      : workspace(backend),
        qkv(make_input<B, 5>(backend, {shape.height, shape.width, 3, shape.heads, shape.depth},
                             {.order = shape.qkv.order}, {1, 2.5}, position)),
        out(backend, HostArray<4>::output({shape.height, shape.width, shape.heads, shape.depth},
                                          {.gaps = {0, 0, 0, shape.out_gap}}, position)) {
    const Index high = shape.window_height();
    const Index wide = shape.window_width();
    const Index tokens = high * wide;
    const double table = 1.5 / std::sqrt(static_cast<double>(shape.depth));
    attention.window = shape.window;
    attention.scale = shape.sharpness / std::sqrt(static_cast<float>(shape.depth));
    if (shape.window > 0) {
      Form<3> form;
      std::size_t next = 0;
      for (const std::size_t axis : shape.qkv.order) {
        if (axis >= 2) form.order[next++] = axis - 2;
      }
      padding = make_input<B, 3>(backend, {3, shape.heads, shape.depth}, form, {2}, position);
      attention.padding_key = padding.view().select(0, 1);
      attention.padding_value = padding.view().select(0, 2);
    }
    if (shape.position) {
      rows = make_input<B, 3>(backend, {high, high, shape.depth}, {}, {3, table}, position);
      columns = make_input<B, 3>(backend, {wide, wide, shape.depth}, {}, {4, table}, position);
      attention.relative_position = {rows.view(), columns.view()};
    }
    if (shape.bias) {
      bias = make_input<B, 3>(backend, {shape.heads, tokens, tokens}, {}, {5}, position);
      attention.bias = bias.view();
    }
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const GridAttentionCase& shape, Position position) {
  using Operands = GridAttentionOperands<B>;
  auto operands = std::make_shared<Operands>(backend, shape, position);
  return make_prepared(backend, operands, [](Operands& o) {
    const auto part = [&](Index which) { return o.qkv.view().select(2, which); };
    nn::grid_attention<B>(o.workspace, part(0), part(1), part(2), o.attention, o.out.view());
  });
}

inline std::vector<GridAttentionCase> grid_attention_cases() {
  std::vector<GridAttentionCase> cases = {
      {},
      {.height = 1, .width = 1, .heads = 3, .depth = 5, .window = 1},
      {.height = 2, .width = 3, .heads = 2, .depth = 4, .window = 1, .position = true},
      {.height = 1, .width = 9, .heads = 2, .depth = 8, .window = 4},
      {.height = 9, .width = 1, .heads = 2, .depth = 8, .window = 4, .bias = true},
      {.height = 1, .width = 1, .heads = 2, .depth = 8, .window = 7, .position = true},
      {.height = 3, .width = 5, .heads = 2, .depth = 8, .window = 7, .bias = true},
      // Windows that divide the grid, and do not: one way, the other, both.
      {.height = 8, .width = 12, .heads = 2, .depth = 16, .window = 4},
      {.height = 8, .width = 13, .heads = 2, .depth = 16, .window = 4},
      {.height = 9, .width = 12, .heads = 2, .depth = 16, .window = 4, .position = true},
      {.height = 10, .width = 15, .heads = 3, .depth = 16, .window = 7, .position = true},
      {.height = 15, .width = 10, .heads = 3, .depth = 16, .window = 7, .bias = true},
      {.height = 14, .width = 14, .heads = 2, .depth = 32, .window = 7, .bias = true},
      {.height = 28, .width = 17, .heads = 1, .depth = 32, .window = 14, .position = true},
      // One window, up to many queries in a row.
      {.height = 6, .width = 6, .heads = 2, .depth = 16, .position = true},
      {.height = 5, .width = 11, .heads = 2, .depth = 16, .position = true},
      {.height = 11, .width = 5, .heads = 2, .depth = 16, .bias = true},
      {.height = 3, .width = 50, .heads = 1, .depth = 12, .position = true},
      {.height = 50, .width = 3, .heads = 1, .depth = 12, .position = true, .bias = true},
      {.height = 2, .width = 97, .heads = 2, .depth = 9},
      {.height = 16, .width = 16, .heads = 1, .depth = 16, .position = true},
      // More keys than are worked on at once (384): parts that end and begin within a row.
      {.height = 30, .width = 14, .heads = 1, .depth = 16, .position = true},
      {.height = 9, .width = 50, .heads = 1, .depth = 16, .position = true, .bias = true},
      {.height = 20, .width = 20, .heads = 1, .depth = 8, .bias = true},
      // Heads wider than a packed row (384 values, 768 at bfloat16).
      {.height = 4, .width = 5, .heads = 1, .depth = 400, .position = true},
      {.height = 3, .width = 5, .heads = 1, .depth = 801, .window = 3, .position = true},
      // Many heads, and one.
      {.height = 5, .width = 6, .heads = 16, .depth = 4, .window = 3, .position = true},
      {.height = 7, .width = 7, .heads = 60, .depth = 3, .window = 7},
      // Scores far apart: one key takes all.
      {.height = 7, .width = 7, .heads = 2, .depth = 16, .position = true, .sharpness = 10},
      {.height = 9, .width = 9, .heads = 2, .depth = 16, .window = 5, .sharpness = 1e6F},
      {.height = 9, .width = 8, .heads = 2, .depth = 10, .window = 5, .out_gap = 3},
  };
  for (const Index depth : {1, 2, 7, 8, 9, 15, 17, 31, 33, 64, 80}) {
    cases.push_back({.height = 6,
                     .width = 7,
                     .heads = 2,
                     .depth = depth,
                     .window = 4,
                     .position = true,
                     .bias = true});
  }
  for (const QkvForm& qkv : {kHeadsOfParts, kThreeTensors, kHeadsFirst, kChannelsOutside}) {
    cases.push_back(
        {.height = 9, .width = 10, .heads = 3, .depth = 16, .window = 7, .bias = true, .qkv = qkv});
    cases.push_back(
        {.height = 6, .width = 9, .heads = 3, .depth = 11, .position = true, .qkv = qkv});
  }
  const auto heavy = [&](GridAttentionCase shape) {
    shape.heavy = true;
    cases.push_back(shape);
  };
  heavy({.height = 64,
         .width = 64,
         .heads = 12,
         .depth = 64,
         .window = 14,
         .position = true,
         .label = "vit_b_window"});
  heavy({.height = 64,
         .width = 64,
         .heads = 12,
         .depth = 64,
         .position = true,
         .label = "vit_b_global"});
  heavy({.height = 64,
         .width = 64,
         .heads = 16,
         .depth = 80,
         .window = 14,
         .position = true,
         .label = "vit_h_window"});
  heavy({.height = 128,
         .width = 128,
         .heads = 4,
         .depth = 32,
         .window = 7,
         .bias = true,
         .qkv = kHeadsOfParts,
         .label = "litemedsam_stage1"});
  heavy({.height = 64,
         .width = 64,
         .heads = 5,
         .depth = 32,
         .window = 14,
         .bias = true,
         .qkv = kHeadsOfParts,
         .label = "litemedsam_stage2"});
  heavy({.height = 64,
         .width = 64,
         .heads = 10,
         .depth = 32,
         .window = 7,
         .bias = true,
         .qkv = kHeadsOfParts,
         .label = "litemedsam_stage3"});
  return cases;
}

}  // namespace promiseg::conformance
