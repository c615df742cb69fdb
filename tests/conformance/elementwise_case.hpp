// Sums and copies of images with any strides.
#pragma once

#include <string>
#include <vector>

#include "conv_case.hpp"
#include "operation.hpp"
#include "prepared_case.hpp"

namespace promiseg::conformance {

/// Which operand of a sum is the destination.
enum class Alias { none, a, b };

struct AddCase {
  static constexpr Operation kOperation = Operation::add;

  Extents<4> extents{};
  Form<4> a = {};
  Form<4> b = {};
  Form<4> out = {};
  Alias alias = Alias::none;
  std::string label = "packed";
  bool heavy = false;

  std::string name() const {
    return label + "/" + extents_name(extents) +
           (alias == Alias::a   ? "_into_a"
            : alias == Alias::b ? "_into_b"
                                : "");
  }

  Work work() const {
    const auto size = static_cast<double>(element_count(extents));
    return {size, 12 * size};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const AddCase& shape, Position position) {
  struct Operands {
    DeviceArray<4> a;
    DeviceArray<4> b;
    Alias alias;
    Destination<4> out;
  };
  auto operands = std::make_shared<Operands>(Operands{
      make_input(backend, shape.extents, shape.a, Values{1}, position),
      make_input(backend, shape.extents, shape.b, Values{2}, position), shape.alias,
      Destination<4>(backend,
                     shape.alias == Alias::none
                         ? HostArray<4>::output(shape.extents, shape.out, position)
                         : HostArray<4>::in_place(shape.extents, shape.out, {3}, position))});
  return make_prepared(backend, operands, [&backend](const Operands& o) {
    backend.add(o.alias == Alias::a ? o.out.view() : o.a.view(),
                o.alias == Alias::b ? o.out.view() : o.b.view(), o.out.view());
  });
}

struct CopyCase {
  static constexpr Operation kOperation = Operation::copy;

  Extents<4> extents{};
  Form<4> from = {};
  Form<4> to = {};
  std::string label = "packed";
  bool heavy = false;

  std::string name() const { return label + "/" + extents_name(extents); }
  Work work() const { return {0, 8 * static_cast<double>(element_count(extents))}; }
};

template <Backend B>
PreparedCase prepare(B& backend, const CopyCase& shape, Position position) {
  struct Operands {
    DeviceArray<4> from;
    Destination<4> out;
  };
  auto operands = std::make_shared<Operands>(
      Operands{make_input(backend, shape.extents, shape.from, Values{1}, position),
               Destination<4>(backend, HostArray<4>::output(shape.extents, shape.to, position))});
  return make_prepared(backend, operands, [&backend](const Operands& o) {
    backend.copy(o.from.view(), o.out.view());
  });
}

inline constexpr Form<4> kImageGaps{.gaps = {1, 2, 3, 4}};
inline constexpr Form<4> kChannelsFirst{.order = {0, 3, 1, 2}};
inline constexpr Form<4> kReversed{.order = {3, 2, 1, 0}};
inline constexpr Form<4> kImageSpread{.spread = 3};

inline std::vector<AddCase> add_cases() {
  const auto over = [](std::array<bool, 4> axes) { return Form<4>{.broadcast = axes}; };
  const Form<4> batch = over({true, false, false, false});
  const Form<4> height = over({false, true, false, false});
  const Form<4> width = over({false, false, true, false});
  const Form<4> channels = over({false, false, false, true});
  const Form<4> number = over({true, true, true, true});
  const Form<4> vector = over({true, true, true, false});
  const Extents<4> image{2, 5, 7, 19};
  return {
      {.extents = {1, 1, 1, 1}},
      {.extents = image},
      {.extents = image, .alias = Alias::a},
      {.extents = image, .alias = Alias::b},
      {.extents = {1, 1, 40000, 1}},
      {.extents = {1, 1, 1, 40000}, .alias = Alias::a},
      {.extents = image, .b = batch, .alias = Alias::a, .label = "over_batch"},
      {.extents = image, .b = height, .label = "over_height"},
      {.extents = image, .b = width, .alias = Alias::a, .label = "over_width"},
      {.extents = image, .b = channels, .alias = Alias::a, .label = "over_channels"},
      {.extents = image, .b = number, .label = "a_number"},
      {.extents = image, .a = vector, .alias = Alias::b, .label = "a_vector"},
      {.extents = image, .a = vector, .b = channels, .label = "both_broadcast"},
      {.extents = image, .a = kImageGaps, .b = kChannelsFirst, .label = "strided"},
      {.extents = image, .out = kImageGaps, .label = "out_gaps"},
      {.extents = image, .out = kChannelsFirst, .alias = Alias::a, .label = "out_channels_first"},
      {.extents = image, .a = kReversed, .b = kImageSpread, .out = kImageSpread, .label = "spread"},
      {.extents = {1, 64, 64, 256}, .b = vector, .alias = Alias::a, .label = "dense_prompt"},
      {.extents = {1, 64, 64, 768}, .alias = Alias::a, .label = "vit_b_pos_embed", .heavy = true},
  };
}

inline std::vector<CopyCase> copy_cases() {
  const auto order = [](std::array<std::size_t, 4> axes) { return Form<4>{.order = axes}; };
  const auto over = [](std::array<bool, 4> axes) { return Form<4>{.broadcast = axes}; };
  const Extents<4> image{2, 5, 7, 19};
  return {
      {.extents = {1, 1, 1, 1}},
      {.extents = image},
      {.extents = {1, 1, 1, 40000}},
      {.extents = {1, 1, 40000, 1}},
      {.extents = {40000, 1, 1, 1}, .label = "one_per_item"},
      {.extents = image, .from = kChannelsFirst, .label = "to_channels_last"},
      {.extents = image, .to = kChannelsFirst, .label = "to_channels_first"},
      {.extents = image, .from = order({0, 2, 1, 3}), .label = "swap_axes"},
      {.extents = image,
       .from = order({1, 3, 0, 2}),
       .to = order({2, 0, 3, 1}),
       .label = "permute_both"},
      {.extents = image, .from = kReversed, .label = "reversed"},
      {.extents = image, .from = kImageGaps, .label = "part_of_larger"},
      {.extents = image, .to = kImageGaps, .label = "into_larger"},
      {.extents = image, .from = kImageGaps, .to = kImageSpread, .label = "gaps_to_spread"},
      {.extents = image, .from = over({true, true, true, false}), .label = "a_vector"},
      {.extents = image,
       .from = over({true, true, true, true}),
       .to = kImageGaps,
       .label = "a_number"},
      {.extents = image, .from = over({false, false, true, true}), .label = "over_inner_axes"},
      {.extents = image,
       .from = over({false, false, false, true}),
       .to = kChannelsFirst,
       .label = "over_channels"},
      {.extents = {1, 14, 14, 64}, .from = {.gaps = {0, 50, 50, 2240}}, .label = "one_head"},
      {.extents = {14, 14, 12, 64},
       .from = {.gaps = {50, 50, 24, 0}},
       .to = order({2, 0, 1, 3}),
       .label = "window_heads",
       .heavy = true},
      {.extents = {1, 1024, 1024, 3}, .from = kChannelsFirst, .label = "image", .heavy = true},
  };
}

}  // namespace promiseg::conformance
